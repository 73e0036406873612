// Package stream lets a machine start from an image that is still on its way.
//
// Two processes hold it, both named so that a shutdown spares them
// (https://systemd.io/ROOT_STORAGE_DAEMONS). The holder answers the kernel's
// reads, from a file in memory and a bitmap that it shares with the worker, and
// does nothing else: no network, no parser but the one for the kernel's 28
// bytes. The worker fetches and verifies. It may die: the holder still has what
// is there and what waits, and starts another.
package stream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"netstage/fetch/stream"
	"netstage/mount/dm"
	"netstage/netup/lease"
)

// Name is the processes' argv[0].
const Name = "@netstage-stream"

// StatusFile tells how far the stream is: a Status.
const StatusFile = "/run/netstage/stream.json"

// spec is what the processes are told. Nothing else of the initramfs is needed.
type spec struct {
	Size      int64
	BlockSize int64
	RootHash  []byte
	SHA256    []byte `json:",omitempty"` // of the whole, where it was given
	URLs      []string
	Tokens    map[string]string `json:",omitempty"` // of origins
	UserAgent string
	Proxy     string `json:",omitempty"`
	CA        []byte `json:",omitempty"` // PEM; empty: the system's
	Seed      uint64
	Lease     lease.Lease
	ClientID  []byte `json:",omitempty"` // of the lease
	OnDemand  bool
	Timeout   time.Duration // of a read, once stage 2 runs; 0: none
	Hot       []stream.Span
	NBD       int
	Device    dm.Device
	Final     dm.Table // of the device, when the image is whole
}

// originOf is who a token may go to.
func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// readSpec reads it from the start of a file that others read too.
func readSpec(file *os.File) (spec, error) {
	var s spec
	text, err := io.ReadAll(io.NewSectionReader(file, 0, 16<<20))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read what to stream: %w", err)
	}
	return s, nil
}

// Status is how far a stream is.
type Status struct {
	State     string  `json:"state"` // streaming or complete
	Bytes     int64   `json:"bytes"` // of the image that are there
	Total     int64   `json:"total"`
	Received  int64   `json:"received"` // from servers
	Seconds   float64 `json:"seconds"`  // since the stream began
	Reads     uint64  `json:"reads"`
	Waited    uint64  `json:"waited"` // of these
	LongestMS int64   `json:"longest_wait_ms"`
	Restarts  uint64  `json:"restarts,omitempty"` // of the worker
	Waiting   string  `json:"waiting,omitempty"`  // what a reader waits for now
}

func (s *shared) status() Status {
	return Status{
		State: "streaming", Bytes: s.have(), Total: s.size, Received: int64(s.get(wordReceived)),
		Seconds: time.Since(time.Unix(0, int64(s.get(wordStarted)))).Seconds(),
		Reads:   s.get(wordReads), Waited: s.get(wordWaited), LongestMS: int64(s.get(wordLongest)) / 1e6, Restarts: s.get(wordRestarts),
	}
}
