// Package fetch downloads the image of a system: over HTTP/1.1, from several
// mirrors, verified as it streams, resumed after every fault that a network or
// a server has in store, and kept in memory once.
package fetch

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/verify"
)

// Request says what to fetch, from where, what vouches for it and where it
// goes. Mirrors, Store and Log are required.
type Request struct {
	// Mirrors have the same image, the preferred one comes first. They are
	// URLs.
	Mirrors []ref.Location
	// Cache is the URL of a cache that is asked before them for what is
	// verified here; the zero value: there is none. It needs no trust.
	Cache ref.Location
	// SHA256 is the image's digest; nil: not pinned.
	SHA256 []byte
	// Verify checks the image in addition, block by block for instance; nil:
	// nothing does.
	Verify verify.Verifier
	// Size is the image's length when something trusted names it; 0: as the
	// server says.
	Size int64
	// Digest has the SHA-256 computed for Image.SHA256 even when it is not
	// pinned.
	Digest bool
	// Checked promises that the caller verifies the bytes before it uses them,
	// as those of a signature. Dates of certificates are forgiven then as with
	// SHA256 or Verify.
	Checked bool
	// Untrusted says that SHA256, Verify and Size are what a server says: they
	// find faults, and vouch for nothing.
	Untrusted bool
	// What the file is called in messages; empty: "image".
	What  string
	Store store.Store
	Log   *slog.Logger // its lines begin with What

	// Dial opens connections; nil: the system's own way.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Proxy as in http.Transport; nil: none, whatever the environment says.
	Proxy func(*http.Request) (*url.URL, error)
	// Roots are the certificate authorities trusted for https; nil: the
	// system's.
	Roots *x509.CertPool
	// Now is the clock that certificates are judged by; nil: time.Now. Where
	// SHA256 or Verify vouch for the image, a certificate that is only too old
	// or too new is accepted with a warning.
	Now func() time.Time
	// Bearer is the token for a URL, or empty; nil: there is none. It is sent
	// to mirrors whose URL has no user of its own. Neither goes along to
	// another origin on a redirect, nor to a server whose certificate's dates
	// were passed over.
	Bearer func(*url.URL) string
	// Transport, where it is not nil, is the way to servers on top of the
	// ordinary one: it may log in to registries, with secrets or without.
	Transport func(base http.RoundTripper, secrets bool) http.RoundTripper
	// Accept are the media types asked for; empty: any.
	Accept string
	// UserAgent is sent to servers; empty: "netstage".
	UserAgent string

	// Seed makes the waits between tries differ from machine to machine: the
	// MAC address.
	Seed    uint64
	Backoff pace.Backoff
	// RetryAfterCap bounds what a server may ask for with Retry-After; 0: 5
	// minutes.
	RetryAfterCap time.Duration
	// LowSpeed is the rate below which a mirror counts as stalled.
	LowSpeed pace.LowSpeedLimit
	// Timeouts of one try.
	Timeouts pace.Timeouts
	// Parallel is when several streams are used.
	Parallel pace.Parallel

	// MemAvailable is asked before the first byte when the store is in memory;
	// nil: SystemMemAvailable.
	MemAvailable func() (int64, error)
	// Progress is called about ten times a second while bytes arrive, after
	// every fault, and once at the end; never concurrently. It must not block.
	Progress func(Progress)
}

// Image is a complete image that passed every check.
type Image struct {
	File   *os.File // open for reading, at its start
	Path   string
	Size   int64
	SHA256 [32]byte // zero unless it was pinned or asked for
	Source string   // URL of the mirror that finished it, without credentials
	Stats  Stats
	store  store.Store
}

// Close closes File and gives back the store: an image in memory is gone then.
func (i *Image) Close() error { return errors.Join(i.File.Close(), i.store.Close()) }

// Stats tells what a download took.
type Stats struct {
	Duration time.Duration
	Received int64 // bytes of bodies, also those thrown away
	Requests int
	Retries  int // faults survived
	Restarts int // how often it began from the first byte again
}

// Get downloads and verifies an image. It survives every transient failure for
// as long as ctx lives; what no retry can mend is an *Error at once, and the
// store is empty then.
func Get(ctx context.Context, req Request) (*Image, error) {
	e, bad := newEngine(req)
	if bad != nil {
		return nil, failed(bad)
	}
	image, err := e.run(ctx)
	if err := e.close(); err != nil {
		e.req.Log.Warn("cannot give back buffers", "err", err)
	}
	if err != nil {
		if cerr := req.Store.Close(); cerr != nil {
			e.req.Log.Warn("cannot empty the store", "err", cerr)
		}
		return nil, err
	}
	return image, nil
}

func (r Request) withDefaults() Request {
	r.Timeouts = r.Timeouts.WithDefaults(len(r.Mirrors))
	r.LowSpeed = r.LowSpeed.WithDefaults()
	r.Backoff = r.Backoff.WithDefaults()
	r.Parallel = r.Parallel.WithDefaults()
	if r.RetryAfterCap <= 0 {
		r.RetryAfterCap = 5 * time.Minute
	}
	if r.Dial == nil {
		r.Dial = new(net.Dialer).DialContext
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.What == "" {
		r.What = "image"
	}
	r.Log = r.Log.With("what", r.What)
	if r.UserAgent == "" {
		r.UserAgent = "netstage"
	}
	if r.MemAvailable == nil {
		r.MemAvailable = SystemMemAvailable
	}
	return r
}

// config is how its mirrors are asked.
func (r Request) config() mirror.Config {
	return mirror.Config{
		What: r.What, Log: r.Log, Dial: r.Dial, Proxy: r.Proxy, Roots: r.Roots, Now: r.Now, Bearer: r.Bearer, UserAgent: r.UserAgent,
		RetryAfterCap: r.RetryAfterCap, Timeouts: r.Timeouts, Streams: r.Parallel.Streams, Verified: r.trusting(),
		Transport: r.Transport, Accept: r.Accept,
	}
}

// vouched reports whether anything is given to verify the image against.
func (r Request) vouched() bool { return r.SHA256 != nil || r.Verify != nil }

// trusting reports whether bytes that are wrong will be found out, here or by
// the caller.
func (r Request) trusting() bool { return r.vouched() && !r.Untrusted || r.Checked }
