package mirror

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"netstage/stage1/fault"
)

// Answer is what a response means for the download.
type Answer struct {
	Restart  string // why the body begins at the first byte though more was asked for; "": it continues
	Complete bool   // there is nothing left to read
	Part     bool   // the body is the range that was asked for
	Size     int64  // of the whole image; -1: not known
	Last     int64  // of the body's bytes, when they are a range; else -1
	Framed   bool   // the body's end is told from a broken connection
}

// Expect is what is known of an image when an answer of a mirror is checked.
type Expect struct {
	Offset  int64     // the first byte that was asked for
	Version Validator // the body must be of it; zero: of any
	Size    int64     // -1: not known
	Trusted bool      // the size comes from the operator
}

// Check reads the header of a response. Everything unusable is a fault.
func (q *Requester) Check(m *Mirror, resp *http.Response, e Expect) (Answer, *Fault) {
	if enc := coding(resp.Header); enc != "" && resp.StatusCode/100 == 2 {
		return Answer{}, NewFault(ThisMirror, fault.Encoding, nil, "%s: sends the image with Content-Encoding %s", m.Name, enc)
	}
	var a Answer
	var bad *Fault
	switch status(resp, e.Offset) {
	case http.StatusOK:
		a, bad = checkBody(m, resp, e)
	case http.StatusPartialContent:
		a, bad = checkRange(m, resp, e)
	case http.StatusRequestedRangeNotSatisfiable:
		if e.Offset > 0 {
			return checkEnd(m, resp, e)
		}
		return Answer{}, q.statusFault(m, resp)
	default:
		return Answer{}, q.refusal(m, resp, e.Offset)
	}
	a.Framed = resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0 || m.URL.Scheme == "tftp"
	switch {
	case bad != nil:
	case e.Trusted && a.Size >= 0 && a.Size != e.Size:
		bad = wrongSize(m, a.Size, e.Size)
	case a.Size == 0:
		bad = NewFault(ThisMirror, fault.Short, nil, "%s: its image is empty", m.Name)
	}
	return a, bad
}

// checkBody is Check of a response that sends the image from its first byte on.
func checkBody(m *Mirror, resp *http.Response, e Expect) (Answer, *Fault) {
	a := Answer{Size: resp.ContentLength, Last: -1}
	if e.Offset == 0 {
		return a, nil
	}
	if e.Size > 0 && a.Size == e.Size-e.Offset {
		// A proxy's way to send a part and to say that it is the whole.
		return a, NewFault(Transient, fault.BadRange, nil, "%s: asked from byte %d on it sends the %d that are left, as if they were all", m.Name, e.Offset, a.Size)
	}
	a.Restart = "it sends no ranges"
	if how, changed := e.Version.Differs(ValidatorOf(resp.Header)); changed {
		a.Restart = how
	} else if a.Size >= 0 && e.Size >= 0 && a.Size != e.Size {
		a.Restart = fmt.Sprintf("its length %d became %d", e.Size, a.Size)
	}
	return a, nil
}

// checkRange is Check of a response that sends a range.
func checkRange(m *Mirror, resp *http.Response, e Expect) (Answer, *Fault) {
	r, ok := parseContentRange(resp.Header.Get("Content-Range"))
	whole := e.Offset == 0 // and asked for without a range
	if !ok || r.first != e.Offset || whole && r.total < 0 && e.Size < 0 || resp.ContentLength >= 0 && resp.ContentLength != r.last-r.first+1 {
		return Answer{Size: -1, Last: -1}, NewFault(Transient, fault.BadRange, nil, "%s: asked from byte %d on it answers Content-Range %q", m.Name, e.Offset, resp.Header.Get("Content-Range"))
	}
	a := Answer{Size: r.total, Last: r.last, Part: !whole}
	other := e.Size >= 0 && a.Size >= 0 && a.Size != e.Size
	if e.Trusted && other {
		return a, wrongSize(m, a.Size, e.Size)
	}
	if how, changed := e.Version.Differs(ValidatorOf(resp.Header)); changed {
		return a, NewFault(Transient, fault.Changed, nil, "%s: %s", m.Name, how)
	}
	if other {
		return a, NewFault(Transient, fault.Changed, nil, "%s: its length is %d, not %d", m.Name, a.Size, e.Size)
	}
	if a.Size < 0 {
		a.Size = e.Size
	}
	return a, nil
}

// checkEnd is Check of a response that knows no byte at the offset: of an image
// of unknown length that is its end.
func checkEnd(m *Mirror, resp *http.Response, e Expect) (Answer, *Fault) {
	r, ok := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case ok && r.total == e.Offset && e.Size < 0:
		return Answer{Size: e.Offset, Complete: true, Framed: true}, nil
	case ok && e.Trusted && r.total >= 0 && r.total != e.Size:
		return Answer{Size: -1, Last: -1}, wrongSize(m, r.total, e.Size)
	}
	return Answer{Size: -1, Last: -1}, NewFault(Transient, fault.Changed, nil, "%s: has no byte %d any more (Content-Range %q)", m.Name, e.Offset, resp.Header.Get("Content-Range"))
}

// status is that of a response to a request from byte offset on. One that
// tells its range is a part, though it says 200, as some proxies do; 203 is
// 200 by way of one of them.
func status(resp *http.Response, offset int64) int {
	switch code := resp.StatusCode; {
	case code == http.StatusOK && offset > 0 && resp.Header.Get("Content-Range") != "":
		return http.StatusPartialContent
	case code == http.StatusNonAuthoritativeInfo:
		return http.StatusOK
	default:
		return code
	}
}

// mostRefused is how often in a row an error of the server's own may answer
// what asks for a part.
const mostRefused = 4

// refusal is what a status without an image means in answer to a request from
// byte offset on. It may be the range that is refused, as filters against
// floods of ranges do: without one it is asked again before it is given up.
func (q *Requester) refusal(m *Mirror, resp *http.Response, offset int64) *Fault {
	f, code := q.statusFault(m, resp), resp.StatusCode
	if offset > 0 && (f.Scope == ThisMirror || code == http.StatusNotImplemented || code == http.StatusInternalServerError && m.failures >= mostRefused) {
		return NewFault(Transient, fault.BadRange, f, "%s: asked from byte %d on it answers %d %s", m.Name, offset, code, http.StatusText(code))
	}
	return f
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

// wrongSize blames a mirror whose image has another length than the one that is
// vouched for.
func wrongSize(m *Mirror, got, want int64) *Fault {
	return NewFault(ThisMirror, fault.Mismatch, nil, "%s: its image has %d bytes, expected %d", m.Name, got, want)
}

// statusFault sorts the statuses that carry no image into those that pass and
// those that stay.
func (q *Requester) statusFault(m *Mirror, resp *http.Response) *Fault {
	code := resp.StatusCode
	by := ""
	if resp.Request.Response != nil { // it was led there
		by = " by " + resp.Request.URL.Host
	}
	f := NewFault(ThisMirror, fault.HTTP(code), nil, "%s: %d %s%s for %s", m.Name, code, http.StatusText(code), by, m.Location)
	switch {
	case passes(code):
		f.Scope = Transient
		f.RetryAfter = parseRetryAfter(resp.Header, q.c.Now(), q.c.RetryAfterCap)
	case by != "" && expires(code) && m.badRedirects.Add(1) <= mostBadRedirects:
		f.Scope = Transient
	}
	return f
}

// mostBadRedirects is how often in a row a mirror may lead to somebody who
// refuses.
const mostBadRedirects = 5

// expires tells whether a status may be about the way there: the URL of an
// object store that a registry hands out holds for minutes, by clocks that may
// differ, and a cache on the way may keep it for longer. S3 and Azure say 403
// then, Google's 400, others 401 or 410. Whoever handed it out has a new one.
func expires(code int) bool {
	return code == http.StatusBadRequest || code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusGone
}

// passes tells whether a status is worth another try.
func passes(code int) bool {
	return code/100 == 5 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code == http.StatusTooEarly
}

// ErrNoRanges is in the faults of mirrors that send all or nothing.
var ErrNoRanges = errors.New("no ranges")

// CheckPart reads the header of a response to a request for the bytes first to
// last of an image of that size. It is strict about what the body begins with,
// and compares no versions.
func (q *Requester) CheckPart(m *Mirror, resp *http.Response, first, last, size int64) *Fault {
	h := resp.Header
	span, ok := parseContentRange(h.Get("Content-Range"))
	switch enc := coding(h); {
	case resp.StatusCode == http.StatusOK && !ok:
		return NewFault(Transient, fault.BadRange, ErrNoRanges, "%s: sends all where a part was asked for", m.Name)
	case resp.StatusCode != http.StatusPartialContent && resp.StatusCode != http.StatusOK:
		return q.statusFault(m, resp)
	case enc != "":
		return NewFault(Transient, fault.Encoding, nil, "%s: sends the image with Content-Encoding %s", m.Name, enc)
	case !ok || span.first != first || span.last > last:
		return NewFault(Transient, fault.BadRange, nil, "%s: asked from byte %d on it answers Content-Range %q", m.Name, first, h.Get("Content-Range"))
	case span.total >= 0 && span.total != size:
		return NewFault(Transient, fault.Mismatch, nil, "%s: its image has %d bytes, expected %d", m.Name, span.total, size)
	}
	return nil
}
