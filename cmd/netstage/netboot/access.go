package netboot

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// An accessLog writes a line for each request.
type accessLog struct {
	mu sync.Mutex
	w  io.Writer
}

// line logs a request: when it ended, the client, what it asked for, the
// status, bytes, seconds, rate, and what was special about it.
func (l *accessLog) line(r *http.Request, w *countingWriter, took time.Duration) {
	if l.w == nil {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %q %d %d bytes %.3f s",
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), client(r), r.Method, r.URL.RequestURI(), w.status, w.bytes, took.Seconds())
	if w.bytes > 1<<20 && took > 0 {
		fmt.Fprintf(&b, " %.1f MB/s", float64(w.bytes)/1e6/took.Seconds())
	}
	if asked := r.Header.Get("Range"); asked != "" {
		fmt.Fprintf(&b, " range %.100q", asked)
	}
	if length := w.Header().Get("Content-Length"); r.Method == http.MethodGet && length != "" && length != fmt.Sprint(w.bytes) &&
		w.status < 300 {
		fmt.Fprintf(&b, " cut off, of %s bytes", length)
	}
	b.WriteByte('\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	io.WriteString(l.w, b.String())
}

// client is the address of who asks, without the port.
func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// A countingWriter knows what was answered. It passes ReadFrom on, so that
// files are still sent by the kernel.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countingWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.patience()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	// In parts, so that who reads nothing for long is cut off.
	const part = 16 << 20
	var all int64
	for {
		w.patience()
		n, err := io.CopyN(w.ResponseWriter, r, part)
		all, w.bytes = all+n, w.bytes+n
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, err
		}
	}
}

// patience gives the client some minutes for what is written next.
func (w *countingWriter) patience() {
	http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(5 * time.Minute))
}

// Unwrap serves http.ResponseController.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
