// Package netboot serves what machines need to boot from the network: a script
// for iPXE, made from the files of a folder, and the files themselves.
package netboot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"netstage/cmd/netstage/internal/attest"
	"netstage/cmd/netstage/internal/reports"
)

// Options say what is served. Dir, Files or both are given.
type Options struct {
	// Dir is the folder whose files are served. Nothing outside of it is,
	// whatever links it holds; nor are names that begin with a dot.
	Dir string
	// Files are served besides: paths on this host by their names in URLs.
	Files map[string]string
	// Boot is what every machine boots, instead of what is found in Dir. Its
	// Base is filled in when it is "".
	Boot *Boot
	// Source, where it is not nil, says what a machine boots, instead of what
	// is found in Dir; mac is "" for one that did not tell. Names are of files
	// in Dir.
	Source func(mac string) (Boot, error)
	// Reading, where it is not nil, is told of each request for a file in Dir, and
	// calls what it returns when that is over.
	Reading func(name string) (over func())
	// Append is put at the end of every machine's command line.
	Append string
	// Reports takes boot reports from machines, keeps them in a folder of Dir,
	// and has the machines send them.
	Reports bool
	// ReportToken is what reports have to come with; "" for nothing.
	ReportToken string
	// Expected are what PCRs of machines may be; nil: whatever they are.
	Expected []attest.Expected
	// Keys are those of machines' TPMs; nil: the first of each is believed.
	Keys attest.Keys
	// URL is how machines reach the server, with a slash at the end; "" for
	// what each request says: its Host, and the X-Forwarded-Proto, -Host and
	// -Prefix of a proxy in front where Forwarded is set.
	URL       string
	Forwarded bool
	// TLS has what https takes; nil for http.
	TLS *tls.Config
	// Access receives a line for every request; nil for none.
	Access io.Writer
	Log    *slog.Logger
	// Grace is how long running downloads may take after the server was told
	// to stop.
	Grace time.Duration
}

// A Server is an http.Handler that knows how to run itself.
type Server struct {
	options Options
	root    *os.Root     // nil without Options.Dir
	reports http.Handler // nil without Options.Reports
	access  accessLog
	running atomic.Int64 // requests
}

// New opens the folder to serve. Close the server in the end.
func New(o Options) (*Server, error) {
	s := &Server{options: o, access: accessLog{w: o.Access}}
	if o.Dir != "" {
		root, err := os.OpenRoot(o.Dir)
		if err != nil {
			return nil, fmt.Errorf("open the folder to serve: %w", err)
		}
		s.root = root
	}
	if o.Reports {
		if s.root == nil {
			return nil, errors.New("there is no folder to keep reports in")
		}
		store, err := reports.Open(s.root)
		if err != nil {
			s.root.Close()
			return nil, err
		}
		s.reports = reports.Handler{Store: store, Log: o.Log, Nonces: reports.NewNonces(), Token: o.ReportToken, Expected: o.Expected, Keys: o.Keys}
	}
	return s, nil
}

// Close lets go of the folder.
func (s *Server) Close() error {
	if s.root == nil {
		return nil
	}
	return s.root.Close()
}

// Plan tells what a machine boots that has no files of its own.
func (s *Server) Plan() (Boot, error) { return s.plan("", s.options.URL) }

// Serve answers requests on l until ctx ends; then it takes no more, and gives
// those that run Options.Grace to end. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	l = newLimited(l)
	if s.options.TLS != nil {
		l = tls.NewListener(l, s.options.TLS)
	}
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	if n := s.running.Load(); n > 0 && s.options.Grace > 0 {
		s.options.Log.Info(fmt.Sprintf("stopping; %d requests have %v to end", n, s.options.Grace))
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Grace)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		if n := s.running.Load(); n > 0 {
			s.options.Log.Warn(fmt.Sprintf("%d requests cut off", n))
		}
		err = server.Close()
		s.waitForAnswers(5 * time.Second)
	}
	<-ended
	return err
}

// waitForAnswers waits for answers that were cut off to say so: http.Server's Close
// does not.
func (s *Server) waitForAnswers(limit time.Duration) {
	for end := time.Now().Add(limit); s.running.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// ServeHTTP answers one request and logs it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Add(-1)
	counted := &countingWriter{ResponseWriter: w}
	start := time.Now()
	// Deferred, since the http package aborts handlers by panics.
	defer func() { s.access.line(r, counted, time.Since(start)) }()

	counted.Header().Set("Server", "netstage")
	name := strings.TrimPrefix(r.URL.Path, "/")
	if s.reports != nil && reports.Serves(name) {
		s.reports.ServeHTTP(counted, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		counted.Header().Set("Allow", "GET, HEAD")
		http.Error(counted, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	err := error(errNotFound)
	if name != "boot.ipxe" || s.hasForeignScript() {
		err = s.serveFile(counted, r, name)
	}
	switch {
	case err == nil:
	case !errors.Is(err, errNotFound):
		s.options.Log.Warn(err.Error())
		http.Error(counted, "can't be read", http.StatusForbidden)
	case name == "boot.ipxe":
		s.serveScript(counted, r)
	case name == "":
		s.serveIndex(counted, r)
	default:
		http.Error(counted, "not found", http.StatusNotFound)
	}
}

// hasForeignScript tells whether an operator put a boot.ipxe into the folder.
// One of WriteScripts is for other servers: this one knows its address, and the
// files as they are now.
func (s *Server) hasForeignScript() bool {
	if s.root == nil || s.options.Boot != nil || s.options.Source != nil {
		return false
	}
	text, err := fs.ReadFile(s.root.FS(), "boot.ipxe")
	return err == nil && !strings.HasPrefix(string(text), staticHead)
}

// serveScript answers with the boot script of a machine, or with one that
// leads to it.
func (s *Server) serveScript(w http.ResponseWriter, r *http.Request) {
	script := ""
	asked := r.URL.Query().Get("mac")
	mac, _ := normalMAC(asked)
	if asked == "" && s.differ() {
		script = ChainScript("machines with files of their own get another script", rootOf(s.originOf(r)))
	} else if boot, err := s.plan(mac, s.originOf(r)); err != nil {
		s.options.Log.Warn(fmt.Sprintf("no boot for %s: %v", client(r), err))
		script = ProblemScript(err.Error())
	} else {
		script = Script(boot)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", fmt.Sprint(len(script)))
	if r.Method == http.MethodGet {
		io.WriteString(w, script)
	}
}

// differ tells whether machines may boot something of their own each.
func (s *Server) differ() bool {
	return s.options.Source != nil || s.options.Boot == nil && s.root != nil && anyMachineFolder(s.root.FS())
}

// plan decides what the machine boots that reaches this server by this URL.
func (s *Server) plan(mac, origin string) (Boot, error) {
	var boot Boot
	switch {
	case s.options.Boot != nil:
		boot = *s.options.Boot
	case s.options.Source != nil:
		var err error
		if boot, err = s.options.Source(mac); err != nil {
			return Boot{}, err
		}
	case s.root == nil:
		return Boot{}, errors.New("there is nothing to boot")
	default:
		var err error
		if boot, err = plan(s.root.FS(), mac); err != nil {
			return Boot{}, err
		}
	}
	boot.Cmdline = strings.TrimSpace(boot.Cmdline + " " + joinCmdline(s.options.Append))
	if err := checkCmdline(boot.Cmdline); err != nil {
		return Boot{}, err
	}
	if s.reports != nil && origin != "" {
		boot.Report = origin + reports.Folder
	}
	if boot.Base == "" && origin != "" {
		boot.Base = origin
		if i := strings.LastIndexByte(boot.Image, '/'); i >= 0 {
			boot.Base += boot.Image[:i+1]
		}
	}
	boot.Root = rootOf(origin)
	warning, err := checkLength(boot.Arguments("aa-bb-cc-dd-ee-ff"))
	if warning != "" {
		s.options.Log.Warn(warning)
	}
	return boot, err
}

// plainHost tells whether a Host header is a name or address and a port, fit
// for a script.
func plainHost(host string) bool {
	return host != "" && strings.Trim(host,
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_:[]") == ""
}
