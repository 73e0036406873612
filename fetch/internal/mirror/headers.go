package mirror

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// contentRange is a parsed Content-Range header (RFC 9110, 14.4). Fields are -1
// where the header has an asterisk.
type contentRange struct {
	first, last int64 // inclusive
	total       int64
}

// parseContentRange reads "bytes FIRST-LAST/TOTAL", "bytes FIRST-LAST/*" and
// "bytes */TOTAL".
func parseContentRange(s string) (contentRange, bool) {
	none := contentRange{-1, -1, -1}
	unit, rest, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return none, false
	}
	span, total, ok := strings.Cut(strings.TrimSpace(rest), "/")
	if !ok {
		return none, false
	}
	r := none
	if total != "*" {
		if r.total, ok = parseDigits(total); !ok {
			return none, false
		}
	}
	if span == "*" {
		return r, r.total >= 0
	}
	first, last, ok := strings.Cut(span, "-")
	if !ok {
		return none, false
	}
	var ok1, ok2 bool
	r.first, ok1 = parseDigits(first)
	r.last, ok2 = parseDigits(last)
	if !ok1 || !ok2 || r.first > r.last || r.total >= 0 && r.last >= r.total {
		return none, false
	}
	return r, true
}

// parseDigits is stricter than strconv: no sign, no underscore.
func parseDigits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return -1, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1, false
	}
	return n, true
}

// parseRetryAfter reads both forms of Retry-After (RFC 9110, 10.2.3): seconds
// or a date. A date is taken relative to the server's own Date where it sent
// one, since the clock here may be at 1970. The result is between 0 and most.
func parseRetryAfter(h http.Header, now time.Time, most time.Duration) time.Duration {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if s == "" {
		return 0
	}
	var d time.Duration
	if strings.Trim(s, "0123456789") == "" {
		n, ok := parseDigits(s)
		if !ok || n > int64(most/time.Second) {
			return most
		}
		d = time.Duration(n) * time.Second
	} else {
		at, err := http.ParseTime(s)
		if err != nil {
			return 0
		}
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		d = at.Sub(now)
	}
	return max(0, min(d, most))
}

// Validator is what a mirror said about the version of the image it serves.
type Validator struct {
	etag, modified string
}

// ValidatorOf reads it from a header.
func ValidatorOf(h http.Header) Validator {
	return Validator{etag: h.Get("ETag"), modified: h.Get("Last-Modified")}
}

// IfRange is the value for If-Range, or "": RFC 9110 13.1.5 wants a strong
// entity tag, else a date.
func (v Validator) IfRange() string {
	if v.etag != "" && !strings.HasPrefix(v.etag, "W/") {
		return v.etag
	}
	return v.modified
}

// Differs reports whether both sides name a version and the versions are not
// the same, and how.
func (v Validator) Differs(now Validator) (string, bool) {
	switch {
	case v.etag != "" && now.etag != "":
		return "ETag " + v.etag + " became " + now.etag, v.etag != now.etag
	case v.modified != "" && now.modified != "":
		return "Last-Modified " + v.modified + " became " + now.modified, v.modified != now.modified
	}
	return "", false
}
