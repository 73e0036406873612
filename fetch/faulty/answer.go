package faulty

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func silent() *log.Logger { return log.New(io.Discard, "", 0) }

// handle takes the connection over and writes the answer byte by byte, so that
// every lie is possible.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	b, content, modified, entry := s.turn(r)
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if !s.adopt(conn) {
		return
	}
	defer s.release(conn)
	if b.Hang {
		s.untilClosed(conn)
		return
	}
	if !s.sleep(time.Duration(b.DelayMS) * time.Millisecond) {
		return
	}
	a := compose(b, r, content, modified)
	sent, whole := int64(0), false
	_, err = rw.WriteString(a.header)
	if b.BodyDelay > 0 && (rw.Flush() != nil || !s.sleep(time.Duration(b.BodyDelay)*time.Millisecond)) {
		return
	}
	if err == nil && r.Method != http.MethodHead {
		sent, whole = s.body(rw.Writer, b, a)
	}
	if rw.Flush() != nil {
		whole = false
	}
	s.note(entry, a.status, sent)
	switch {
	case whole || b.End == "" || b.End == EndClose:
		finish(conn)
	case b.End == EndReset:
		reset(conn)
	case b.End == EndStall:
		s.untilClosed(conn)
	}
}

// finish closes politely: without reading what the client may still send the
// kernel would reset.
func finish(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, conn)
	}
}

func reset(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}

// untilClosed waits for the client to go away or the server to be closed.
func (s *Server) untilClosed(conn net.Conn) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
	}()
	select {
	case <-gone:
	case <-s.closing:
		_ = conn.Close()
		<-gone
	}
}

// sleep reports false when the server was closed meanwhile.
func (s *Server) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-s.closing:
		return false
	}
}

type composed struct {
	status  int
	header  string
	data    []byte
	offset  int64 // of data in the file
	chunked bool
}

func compose(b Behaviour, r *http.Request, content []byte, modified time.Time) composed {
	var h strings.Builder
	add := func(k, v string) { fmt.Fprintf(&h, "%s: %s\r\n", k, v) }
	start := func(status int) {
		fmt.Fprintf(&h, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
		add("Server", "faulty")
		add("Date", time.Now().UTC().Format(http.TimeFormat))
		add("Connection", "close")
	}
	done := func(c composed) composed {
		c.header = h.String() + "\r\n"
		return c
	}
	if b.Location != "" {
		if b.Status == 0 {
			b.Status = http.StatusFound
		}
		start(b.Status)
		if b.Location == "loop" {
			b.Location = r.URL.Path
		}
		add("Location", b.Location)
		add("Content-Length", "0")
		return done(composed{status: b.Status})
	}
	if b.Status != 0 && b.Status != http.StatusOK {
		start(b.Status)
		if b.RetryAfter != "" {
			add("Retry-After", b.RetryAfter)
		}
		data := []byte(http.StatusText(b.Status) + "\n")
		add("Content-Length", strconv.Itoa(len(data)))
		return done(composed{status: b.Status, data: data})
	}
	etag := etagOf(content, modified)
	if b.ETag != "" {
		etag = b.ETag
	}
	date := modified.Format(http.TimeFormat)
	size := int64(len(content))
	from, to, ranged := int64(0), size, false
	if first, last, ok := parseRange(r.Header.Get("Range")); ok && !b.NoRanges {
		cond := r.Header.Get("If-Range")
		from, to, ranged = first, min(last, size-1)+1, cond == "" || b.IgnoreIf || cond == etag || cond == date
	}
	if ranged && from >= size {
		start(http.StatusRequestedRangeNotSatisfiable)
		add("Content-Range", fmt.Sprintf("bytes */%d", size))
		add("Content-Length", "0")
		return done(composed{status: http.StatusRequestedRangeNotSatisfiable})
	}
	c := composed{status: http.StatusOK, data: content, chunked: b.Chunked}
	if ranged {
		c = composed{status: http.StatusPartialContent, data: content[from:to], offset: from, chunked: b.Chunked}
	}
	if b.PartAs200 {
		c.status = http.StatusOK
	}
	start(c.status)
	if ranged && !b.NoPartHeader {
		cr := fmt.Sprintf("bytes %d-%d/%d", from, to-1, size)
		if b.ContentRange != "" {
			cr = b.ContentRange
		}
		add("Content-Range", cr)
	}
	if !b.NoRanges {
		add("Accept-Ranges", "bytes")
	}
	if !b.NoValidators {
		add("ETag", etag)
		add("Last-Modified", date)
	}
	if b.Encoding != "" {
		add("Content-Encoding", b.Encoding)
	}
	switch {
	case b.Chunked:
		add("Transfer-Encoding", "chunked")
	case b.Length > 0:
		add("Content-Length", strconv.FormatInt(b.Length, 10))
	case !b.NoLength:
		add("Content-Length", strconv.Itoa(len(c.data)))
	}
	return done(c)
}

// parseRange reads "bytes=N-" and "bytes=N-M", the only forms a resuming client
// sends.
func parseRange(s string) (first, last int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes=")
	from, to, ok2 := strings.Cut(s, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if !ok || !ok2 || err != nil {
		return 0, 0, false
	}
	if last = math.MaxInt64 - 1; to != "" {
		last, err = strconv.ParseInt(to, 10, 64)
	}
	return first, last, err == nil && first >= 0 && first <= last
}

// body writes the data as the behaviour says, and reports how much and whether
// it was all.
func (s *Server) body(w *bufio.Writer, b Behaviour, a composed) (sent int64, whole bool) {
	data := a.data
	if b.End != "" && b.Cut < int64(len(data)) {
		data = data[:b.Cut]
	}
	const step = 64 << 10
	for len(data) > 0 {
		n := step
		if b.Rate > 0 {
			n = int(max(1, min(step, b.Rate/20)))
			if w.Flush() != nil || !s.sleep(time.Duration(n)*time.Second/time.Duration(b.Rate)) {
				return sent, false
			}
		}
		part := flipped(data[:min(n, len(data))], a.offset+sent, b.Flip)
		if a.chunked {
			fmt.Fprintf(w, "%x\r\n", len(part))
		}
		if _, err := w.Write(part); err != nil {
			return sent, false
		}
		if a.chunked {
			_, _ = w.WriteString("\r\n") // its error is the next Write's
		}
		sent += int64(len(part))
		data = data[len(part):]
	}
	if sent < int64(len(a.data)) {
		return sent, false
	}
	if a.chunked {
		_, _ = w.WriteString("0\r\n\r\n")
	}
	return sent, true
}

// flipped inverts the bytes of part, which begins at offset, that the list
// names.
func flipped(part []byte, offset int64, list []int64) []byte {
	copied := false
	for _, at := range list {
		if at < offset || at >= offset+int64(len(part)) {
			continue
		}
		if !copied {
			part, copied = append([]byte(nil), part...), true
		}
		part[at-offset] ^= 0xff
	}
	return part
}
