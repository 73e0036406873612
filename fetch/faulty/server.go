package faulty

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Server serves one content under every path, but for what was added.
type Server struct {
	http     *http.Server
	listener net.Listener
	scheme   string
	served   sync.WaitGroup // the server's goroutine and every answer under way
	closing  chan struct{}

	mu       sync.Mutex
	conns    map[net.Conn]bool // those taken over from net/http
	content  []byte
	files    map[string][]byte // what is served instead under some names
	modified time.Time
	script   []Behaviour
	log      []Entry
}

// Listen starts a server on addr, such as "127.0.0.1:0", that follows script
// and then serves correctly.
func Listen(addr string, content []byte, script ...Behaviour) (*Server, error) {
	return listen(addr, nil, content, script)
}

// ListenTLS is Listen with https.
func ListenTLS(addr string, config *tls.Config, content []byte, script ...Behaviour) (*Server, error) {
	return listen(addr, config, content, script)
}

func listen(addr string, config *tls.Config, content []byte, script []Behaviour) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("faulty server: %w", err)
	}
	return Serve(l, config, content, script...), nil
}

// Serve is Listen on a listener of the caller's; it is closed with the server.
// A nil config means plain HTTP.
func Serve(l net.Listener, config *tls.Config, content []byte, script ...Behaviour) *Server {
	s := &Server{
		listener: l, scheme: "http", closing: make(chan struct{}), conns: map[net.Conn]bool{}, content: content,
		modified: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), script: slices.Clone(script),
	}
	if config != nil {
		s.scheme = "https"
		l = tls.NewListener(l, config)
	}
	s.http = &http.Server{Handler: http.HandlerFunc(s.handle), ErrorLog: silent()}
	s.served.Add(1)
	go func() {
		defer s.served.Done()
		_ = s.http.Serve(l) // always http.ErrServerClosed: Close is the only end
	}()
	return s
}

// URL is where the content is found under name.
func (s *Server) URL(name string) string { return s.scheme + "://" + s.Addr() + "/" + name }

// Addr is the address listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close ends the server and every connection.
func (s *Server) Close() error {
	s.mu.Lock()
	select {
	case <-s.closing:
	default:
		close(s.closing)
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	err := s.http.Close()
	s.served.Wait()
	return err
}

// adopt makes Close wait for an answer; it reports false when the server is
// closed already.
func (s *Server) adopt(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return false
	default:
	}
	s.conns[c] = true
	s.served.Add(1)
	return true
}

func (s *Server) release(c net.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.served.Done()
}

// SetContent changes the file, and its ETag and date with it.
func (s *Server) SetContent(content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content, s.modified = content, s.modified.Add(time.Hour)
}

// Add serves other content under name, always correctly.
func (s *Server) Add(name string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[string][]byte{}
	}
	s.files["/"+name] = content
}

// Log returns the requests so far.
func (s *Server) Log() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// turn takes the next behaviour from the script and opens a log entry.
func (s *Server) turn(r *http.Request) (b Behaviour, content []byte, modified time.Time, entry int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, added := s.files[r.URL.Path]
	if !added {
		content = s.content
	}
	if len(s.script) > 0 && !added {
		b = s.script[0]
		switch left := &s.script[0].Times; {
		case *left < 0:
		case *left <= 1:
			s.script = s.script[1:]
		default:
			*left--
		}
	}
	s.log = append(s.log, Entry{
		At: time.Now(), Method: r.Method, Path: r.URL.Path, Range: r.Header.Get("Range"), IfRange: r.Header.Get("If-Range"),
		Query: r.URL.RawQuery, UserAgent: r.UserAgent(), Auth: r.Header.Get("Authorization"), Referer: r.Referer(), Behaviour: b,
	})
	return b, content, s.modified, len(s.log) - 1
}

func (s *Server) note(entry, status int, sent int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log[entry].Status, s.log[entry].Sent = status, sent
}

func etagOf(content []byte, modified time.Time) string {
	head := sha256.Sum256(fmt.Appendf(nil, "%d %d", len(content), modified.Unix()))
	return fmt.Sprintf("%q", fmt.Sprintf("%x", head[:8]))
}
