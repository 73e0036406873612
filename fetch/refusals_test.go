package fetch

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unhurried is quick on a busy host: what is counted are answers, not stalls.
func unhurried(t *testing.T, content []byte, urls ...string) (Request, *story) {
	t.Helper()
	r, log := quick(t, content, urls...)
	r.LowSpeed.Window, r.Timeouts.Header, r.Timeouts.Dial = 20*time.Second, 20*time.Second, 20*time.Second
	return r, log
}

// oddServer breaks its first answer after a megabyte. What asks for a part
// then has answer to see; what does not, the whole.
func oddServer(t *testing.T, content []byte, answer func(w http.ResponseWriter, first int)) string {
	t.Helper()
	requests := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		first, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
		switch {
		case requests == 1:
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:1<<20])
			panic(http.ErrAbortHandler)
		case err == nil:
			answer(w, first)
		default:
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/x"
}

// TestRangesThatAreRefused: a filter that lets no range through, a cache that
// fails at them, a server that makes of one what nobody can use. The image is
// asked for without, once.
func TestRangesThatAreRefused(t *testing.T) {
	content := imageBytes(3 << 20)
	part := func(w http.ResponseWriter, span string, b []byte) {
		w.Header().Set("Content-Range", span)
		w.WriteHeader(http.StatusPartialContent)
		w.Write(b)
	}
	answers := map[string]func(w http.ResponseWriter, first int){
		"multipart": func(w http.ResponseWriter, first int) {
			w.Header().Set("Content-Type", "multipart/byteranges; boundary=X")
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprintf(w, "--X\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%s\r\n--X--\r\n", first, len(content)-1, len(content), content[first:])
		},
		"begins earlier": func(w http.ResponseWriter, first int) {
			part(w, fmt.Sprintf("bytes %d-%d/%d", first-100, len(content)-1, len(content)), content[first-100:])
		},
		"another length": func(w http.ResponseWriter, first int) {
			part(w, fmt.Sprintf("bytes %d-%d/%d", first, len(content)-1, len(content)+5), content[first:])
		},
	}
	for _, status := range []int{400, 403, 404, 405, 412, 416, 500, 501} {
		answers[fmt.Sprint(status)] = func(w http.ResponseWriter, _ int) { w.WriteHeader(status) }
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			r, log := unhurried(t, content, oddServer(t, content, answer))
			if image := mustGet(t, r, content); image.Stats.Restarts != 1 {
				t.Errorf("%+v\n%s", image.Stats, log)
			}
		})
	}
}

// TestRefusedWithoutRange is what ends it, with the class of the refusal.
func TestRefusedWithoutRange(t *testing.T) {
	content := imageBytes(3 << 20)
	requests := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests > 1 {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:1<<20])
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	r, _ := unhurried(t, content, s.URL+"/x")
	if mustFail(t, r, "http-404"); requests != 3 {
		t.Errorf("%d requests", requests)
	}
}

// TestPartsThatGoOn are parts that make up the image, whatever they are called.
func TestPartsThatGoOn(t *testing.T) {
	content := imageBytes(3 << 20)
	few := func(w http.ResponseWriter, first int, total string) {
		last := min(first+700_000, len(content))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", first, last-1, total))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(content[first:last])
	}
	for name, answer := range map[string]func(w http.ResponseWriter, first int){
		"a few bytes at a time": func(w http.ResponseWriter, first int) { few(w, first, fmt.Sprint(len(content))) },
		"of a length not told":  func(w http.ResponseWriter, first int) { few(w, first, "*") },
	} {
		t.Run(name, func(t *testing.T) {
			r, log := unhurried(t, content, oddServer(t, content, answer))
			if image := mustGet(t, r, content); image.Stats.Restarts != 0 || image.Stats.Received != int64(len(content)) {
				t.Errorf("%+v\n%s", image.Stats, log)
			}
		})
	}
	for name, size := range map[string]int{"all of it, unasked": len(content), "parts of it, unasked": 700_000} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				first, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
				last := min(first+size, len(content))
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last-1, len(content)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(content[first:last])
			}))
			defer s.Close()
			r, log := unhurried(t, content, s.URL+"/x")
			if image := mustGet(t, r, content); image.Stats.Retries != 0 || image.Stats.Received != int64(len(content)) {
				t.Errorf("%+v\n%s", image.Stats, log)
			}
		})
	}
}

// TestAnswersOfOldServers are whole, though they are not as one would write
// them today.
func TestAnswersOfOldServers(t *testing.T) {
	content := imageBytes(1 << 20)
	for name, head := range map[string]string{
		"HTTP/1.0, no length":     "HTTP/1.0 200 OK\n\n",
		"no reason, bare lines":   fmt.Sprintf("HTTP/1.1 200\nContent-Length: %d\n\n", len(content)),
		"hints before":            fmt.Sprintf("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(content)),
		"its length twice":        fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Length: %[1]d\r\n\r\n", len(content)),
		"by a proxy that says so": fmt.Sprintf("HTTP/1.1 203 Non-Authoritative Information\r\nContent-Length: %d\r\n\r\n", len(content)),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					c.Read(make([]byte, 4096))
					c.Write(append([]byte(head), content...))
					c.Close()
				}
			}()
			defer func() { l.Close(); <-done }()
			r, log := unhurried(t, content, "http://"+l.Addr().String()+"/x")
			if image := mustGet(t, r, content); image.Stats.Requests != 1 {
				t.Errorf("%+v\n%s", image.Stats, log)
			}
		})
	}
}
