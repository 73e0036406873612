package fetch

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// answer is what a response means for the download.
type answer struct {
	restart  string // why the body begins at the first byte though more was asked for; "": it continues
	complete bool   // there is nothing left to read
	part     bool   // the body is the range that was asked for
	size     int64  // of the whole image; -1: not known
	last     int64  // of the body's bytes, when they are a range; else -1
	framed   bool   // the body's end is told from a broken connection
}

// checkResponse reads the header of a response to a request from byte offset on; size is what is known so far, or -1, and
// trusted says that it comes from the operator. The body must be of a version, unless that is zero. Everything unusable
// is an *Error.
func checkResponse(s *source, resp *http.Response, offset int64, version validator, size int64, trusted bool, retryAfterCap time.Duration, now time.Time) (answer, *Error) {
	h := resp.Header
	if enc := coding(h); enc != "" && resp.StatusCode/100 == 2 {
		return answer{}, newError(mirror, "encoding", nil, "%s: sends the image with Content-Encoding %s", s.name, enc)
	}
	a := answer{size: -1, last: -1, framed: resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0 || s.url.Scheme == "tftp"}
	switch status(resp, offset) {
	case http.StatusOK:
		a.size = resp.ContentLength
		if offset > 0 && size > 0 && a.size == size-offset {
			// A proxy's way to send a part and to say that it is the whole.
			return a, newError(transient, "bad-range", nil, "%s: asked from byte %d on it sends the %d that are left, as if they were all", s.name, offset, a.size)
		}
		if offset > 0 {
			a.restart = "it sends no ranges"
			if how, changed := version.differs(validatorOf(h)); changed {
				a.restart = how
			} else if a.size >= 0 && size >= 0 && a.size != size {
				a.restart = fmt.Sprintf("its length %d became %d", size, a.size)
			}
		}
	case http.StatusPartialContent:
		r, ok := parseContentRange(h.Get("Content-Range"))
		if offset == 0 || !ok || r.first != offset || resp.ContentLength >= 0 && resp.ContentLength != r.last-r.first+1 {
			return a, newError(transient, "bad-range", nil, "%s: asked from byte %d on it answers Content-Range %q", s.name, offset, h.Get("Content-Range"))
		}
		a.size, a.last, a.part = r.total, r.last, true
		if trusted && a.size >= 0 && a.size != size {
			return a, wrongSize(s, a.size, size)
		}
		if how, changed := version.differs(validatorOf(h)); changed {
			return a, newError(transient, "changed", nil, "%s: %s", s.name, how)
		}
		if size >= 0 && a.size >= 0 && a.size != size {
			return a, newError(transient, "changed", nil, "%s: its length is %d, not %d", s.name, a.size, size)
		}
		if a.size < 0 {
			a.size = size
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if offset == 0 {
			return a, statusError(s, resp, retryAfterCap, now)
		}
		if r, ok := parseContentRange(h.Get("Content-Range")); ok && r.total == offset && size < 0 {
			return answer{size: offset, complete: true, framed: true}, nil
		} else if trusted && ok && r.total >= 0 && r.total != size {
			return a, wrongSize(s, r.total, size)
		}
		return a, newError(transient, "changed", nil, "%s: has no byte %d any more (Content-Range %q)", s.name, offset, h.Get("Content-Range"))
	default:
		return a, statusError(s, resp, retryAfterCap, now)
	}
	if trusted && a.size >= 0 && a.size != size {
		return a, wrongSize(s, a.size, size)
	}
	if a.size == 0 {
		return a, newError(mirror, "short", nil, "%s: its image is empty", s.name)
	}
	return a, nil
}

// status is that of a response to a request from byte offset on. One that
// tells its range is a part, though it says 200, as some proxies do.
func status(resp *http.Response, offset int64) int {
	if resp.StatusCode == http.StatusOK && offset > 0 && resp.Header.Get("Content-Range") != "" {
		return http.StatusPartialContent
	}
	return resp.StatusCode
}

// coding is the content coding that keeps a body from being the bytes of the
// file, empty where there is none. What is no coding of RFC 9110's registry,
// such as aws-chunked or none, says nothing about the bytes.
func coding(h http.Header) string {
	for _, token := range strings.Split(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		switch token = strings.ToLower(strings.TrimSpace(token)); token {
		case "gzip", "x-gzip", "compress", "x-compress", "deflate", "br", "zstd", "dcb", "dcz", "exi", "pack200-gzip", "aes128gcm":
			return token
		}
	}
	return ""
}

// wrongSize blames a mirror whose image has another length than the one that is vouched for.
func wrongSize(s *source, got, want int64) *Error {
	return newError(mirror, "mismatch", nil, "%s: its image has %d bytes, expected %d", s.name, got, want)
}

// statusError sorts the statuses that carry no image into those that pass and those that stay.
func statusError(s *source, resp *http.Response, retryAfterCap time.Duration, now time.Time) *Error {
	code := resp.StatusCode
	e := newError(mirror, fmt.Sprintf("http-%d", code), nil, "%s: %d %s for %s", s.name, code, http.StatusText(code), s.location)
	if passes(code) {
		e.scope = transient
		e.retryAfter = parseRetryAfter(resp.Header, now, retryAfterCap)
	}
	return e
}

// passes tells whether a status is worth another try.
func passes(code int) bool {
	return code/100 == 5 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code == http.StatusTooEarly
}
