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

	"netstage/fetch/pace"
	"netstage/fetch/stream"
	"netstage/mount/dm"
	"netstage/netup/lease"
)

// Name is the processes' argv[0].
const Name = "@netstage-stream"

// spec is what the processes are told. Nothing else of the initramfs is needed.
type spec struct {
	Size        int64
	BlockSize   int64
	RootHash    []byte
	SHA256      []byte `json:",omitempty"` // of the whole, where it was given
	URLs        []string
	Cache       string            `json:",omitempty"` // URL of a cache of those
	Tokens      map[string]string `json:",omitempty"` // of origins
	Artifacts   []string          `json:",omitempty"` // that the URLs are of, in registries
	Logins      []byte            `json:",omitempty"` // for those
	UserAgent   string
	LowSpeed    pace.LowSpeedLimit
	ReportTo    string `json:",omitempty"` // boot.report=
	ReportToken string `json:",omitempty"` // for that server
	Proxy       string `json:",omitempty"`
	CA          []byte `json:",omitempty"` // PEM; empty: the system's
	Seed        uint64
	Lease       lease.Lease
	LeaseAge    time.Duration // when the stream began
	ClientID    []byte        `json:",omitempty"` // of the lease
	OnDemand    bool
	Keep        int64         // bytes of the image at once; 0: all
	Timeout     time.Duration // of a read, once stage 2 runs; 0: none
	Hot         []stream.Span
	NBD         int
	Device      dm.Device
	Final       dm.Table // of the device, when the image is whole
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
