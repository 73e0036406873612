// Package report is the record of one boot: what the agent leaves in
// /run/netstage/boot.json and posts to boot.report=, and what netstage reads.
// docs/report.md describes the format.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"netstage/stage1/fault"
)

// Version is that of the format. It changes when the meaning of a field does;
// fields that are new do not change it.
const Version = 1

// Most is how many bytes a report may have. The agent's have some twenty
// thousand, most of them the kernel log.
const Most = 256 << 10

// A State says how far the boot is.
type State string

// The states of a boot.
const (
	Running State = "running" // or cut off: the power went, or a watchdog fired
	Good    State = "good"    // stage 2 is about to be started
	Check   State = "check"   // boot.check: all was well, and stage 2 is not started
	Failed  State = "failed"  // Failure says why; an operator or a reboot is waited for
	// Complete comes after Good, of an image that was used while it came.
	Complete State = "complete"
)

// Report is the record of one boot. Times are in milliseconds, sizes in bytes.
// It holds no secrets: they are blanked where it is made.
type Report struct {
	Version    int            `json:"version"`
	State      State          `json:"state"`
	Agent      string         `json:"agent"`             // version of stage1
	Kernel     string         `json:"kernel,omitempty"`  // release
	Written    string         `json:"written,omitempty"` // by the machine's clock, RFC 3339 in UTC
	StartMS    int64          `json:"start_ms"`          // the agent's start, since the kernel's
	DurationMS int64          `json:"duration_ms"`       // since the agent's start
	Machine    Machine        `json:"machine"`
	Parameters []string       `json:"parameters,omitempty"` // of the initrd and the kernel command line
	Steps      []Step         `json:"steps"`
	Breakpoint string         `json:"breakpoint,omitempty"` // the step that a breakpoint holds
	Failure    *fault.Failure `json:"failure,omitempty"`    // with state failed
	Image      *Image         `json:"image,omitempty"`
	Network    *Lease         `json:"network,omitempty"`
	Links      []Link         `json:"links,omitempty"`
	Download   *Download      `json:"download,omitempty"`
	Stream     *Stream        `json:"stream,omitempty"` // with state complete
	Memory     *Memory        `json:"memory,omitempty"`
	Quote      *Quote         `json:"quote,omitempty"`
	Warnings   []Warning      `json:"warnings,omitempty"`   // the newest ones
	KernelLog  []string       `json:"kernel_log,omitempty"` // the last lines, with the agent's
}

// A Warning is what the agent logged as one, or as an error: a boot may succeed
// in spite of it. What it is about is empty where it is about nothing of that
// kind.
type Warning struct {
	AtMS   int64       `json:"at_ms"` // since the kernel's start
	Error  bool        `json:"error,omitempty"`
	Text   string      `json:"text"` // the line of the log
	What   string      `json:"what,omitempty"`
	Step   string      `json:"step,omitempty"`
	Link   string      `json:"link,omitempty"`
	Mirror string      `json:"mirror,omitempty"`
	Class  fault.Class `json:"class,omitempty"`
}

// Machine tells which one it was. What the firmware does not tell is empty.
type Machine struct {
	Vendor   string   `json:"vendor,omitempty"`
	Product  string   `json:"product,omitempty"`
	Serial   string   `json:"serial,omitempty"`
	UUID     string   `json:"uuid,omitempty"`
	Hostname string   `json:"hostname,omitempty"` // by DHCP
	MACs     []string `json:"macs"`               // of its Ethernet cards, aa:bb:cc:dd:ee:ff
}

// Step is one run of a step. A step that was retried has several.
type Step struct {
	Name       string      `json:"name"`
	StartMS    int64       `json:"start_ms"`    // since the kernel's start
	DurationMS int64       `json:"duration_ms"` // so far, of a step that runs
	Running    bool        `json:"running,omitempty"`
	Failure    fault.Class `json:"failure,omitempty"`
}

// Image says where the system came from.
type Image struct {
	Source string `json:"source"` // without credentials
	Size   int64  `json:"size"`
	// What it was verified by, in hex.
	SHA256   string    `json:"sha256,omitempty"`
	RootHash string    `json:"roothash,omitempty"`
	Manifest *Manifest `json:"manifest,omitempty"`
	Layout   string    `json:"layout,omitempty"`    // "nix-store" or "whole-root"
	DMVerity bool      `json:"dm_verity,omitempty"` // every block is verified whenever it is read
	// Cached is how much of it came from the disk with the images of earlier
	// boots, in bytes. OfflineHours is set where all did, since no server
	// brought it: how long ago one last had it.
	Cached       int64  `json:"cached,omitempty"`
	OfflineHours *int64 `json:"offline_hours,omitempty"`
}

// Manifest says what allowed the image.
type Manifest struct {
	Source string `json:"source"` // without credentials
	Name   string `json:"name"`
	Key    string `json:"key"` // the ID of the key that signed it, or several
	Serial uint64 `json:"serial,omitempty"`
	Digest string `json:"digest,omitempty"` // SHA-256 of its bytes, in hex
	// KeyList is the serial of the key list that its keys are of.
	KeyList uint64 `json:"key_list,omitempty"`
}

// Lease says how the machine was on the network.
type Lease struct {
	Link    string `json:"link"`
	MAC     string `json:"mac"`
	Address string `json:"address"` // with prefix length
	Server  string `json:"server,omitempty"`
	Gateway string `json:"gateway,omitempty"`
	Source  string `json:"source,omitempty"`  // "dhcp", "ra", "static" or "kernel"
	TookMS  int64  `json:"took_ms,omitempty"` // from carrier to the lease
}

// Link is one network card that took part in the search for the image.
type Link struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`
	Driver    string   `json:"driver,omitempty"`
	Device    string   `json:"device,omitempty"` // its address on the bus
	Carrier   bool     `json:"carrier"`
	Addresses []string `json:"addresses,omitempty"` // with prefix lengths
	Status    string   `json:"status"`              // for people
	Fault     string   `json:"fault,omitempty"`     // the last one
	Winner    bool     `json:"winner"`              // it leads to the image
}

// Download is how far the image, or a file that vouches for it, has come, and
// how every mirror fared.
type Download struct {
	What    string   `json:"what"` // "image", "verity tree", "manifest"
	Bytes   int64    `json:"bytes"`
	Total   int64    `json:"total"` // -1: not known
	Rate    int64    `json:"bytes_per_second"`
	ETAMS   int64    `json:"eta_ms"` // -1: not known
	Retries int      `json:"retries"`
	TookMS  int64    `json:"took_ms"`
	Mirrors []Mirror `json:"mirrors"`
}

// Mirror is what is known of one mirror.
type Mirror struct {
	URL    string `json:"url"`              // without secrets
	Bytes  int64  `json:"bytes"`            // that it sent, also those thrown away
	Rate   int64  `json:"bytes_per_second"` // 0: not measured
	Faults int    `json:"faults"`
	Answer string `json:"answer,omitempty"` // the last one, or the last fault
	Class  string `json:"class,omitempty"`  // of the last fault
	Bad    bool   `json:"bad,omitempty"`    // it was not asked again
}

// Quote is what the machine's TPM signed, for a server that gave a nonce
// (TCG, TPM Library, part 3, TPM2_Quote).
type Quote struct {
	Nonce     []byte `json:"nonce"`
	PCRs      []PCR  `json:"pcrs"`      // that are signed, in order
	Attest    []byte `json:"attest"`    // TPMS_ATTEST
	Signature []byte `json:"signature"` // TPMT_SIGNATURE
	Key       []byte `json:"key"`       // TPMT_PUBLIC
}

// NoncePath is where a server gives nonces, below the URL of reports.
const NoncePath = "nonce"

// PCR is the value of a register, of the bank of SHA-256, in hex.
type PCR struct {
	Index  int    `json:"index"`
	SHA256 string `json:"sha256"`
}

// Memory is that of the machine when the report was written.
type Memory struct {
	Total     int64 `json:"total"`
	Available int64 `json:"available"`
}

// Parse reads a report, of this or a newer agent: fields it does not know are
// passed over.
func Parse(text []byte) (Report, error) {
	var r Report
	if len(text) > Most {
		return r, fmt.Errorf("boot report: %d bytes, %d are the most", len(text), Most)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("boot report: %w", err)
	}
	if r.Version != Version {
		return r, fmt.Errorf("boot report: version %d of the format: want %d", r.Version, Version)
	}
	switch r.State {
	case Running, Good, Check, Failed, Complete:
	default:
		return r, fmt.Errorf("boot report: unknown state %.20q", r.State)
	}
	if (r.State == Failed) != (r.Failure != nil) {
		return r, errors.New("boot report: state failed goes with a failure, and no other state does")
	}
	if !plausible(r.StartMS) || !plausible(r.DurationMS) {
		return r, errors.New("boot report: a time out of range")
	}
	if err := r.bounded(); err != nil {
		return r, err
	}
	for _, s := range r.Steps {
		if !plausible(s.StartMS) || !plausible(s.DurationMS) {
			return r, fmt.Errorf("boot report: step %.40q: a time out of range", s.Name)
		}
	}
	return r, nil
}

// bounded refuses lists that no boot has: a few bytes of each element take
// hundreds in memory.
func (r Report) bounded() error {
	addresses, mirrors, pcrs := 0, 0, 0
	if r.Quote != nil {
		pcrs = len(r.Quote.PCRs)
	}
	for _, l := range r.Links {
		addresses += len(l.Addresses)
	}
	if r.Download != nil {
		mirrors = len(r.Download.Mirrors)
	}
	reads := 0
	if r.Stream != nil {
		reads = len(r.Stream.FirstReads)
	}
	for _, list := range []struct {
		name    string
		n, most int
	}{
		{"pcrs", pcrs, 32}, {"steps", len(r.Steps), 1000}, {"links", len(r.Links), 256}, {"addresses", addresses, 1024}, {"macs", len(r.Machine.MACs), 256},
		{"parameters", len(r.Parameters), 1024}, {"mirrors", mirrors, 256}, {"first reads", reads, MostFirstReads}, {"kernel_log", len(r.KernelLog), 4096}, {"warnings", len(r.Warnings), 1024},
	} {
		if list.n > list.most {
			return fmt.Errorf("boot report: %d %s, %d are the most", list.n, list.name, list.most)
		}
	}
	return nil
}

// plausible tells whether a time is none that sums and bars would choke on: at
// most some thirty years.
func plausible(ms int64) bool { return ms >= 0 && ms < 1<<40 }

// Encode writes the report as Parse reads it.
func (r Report) Encode(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // the kernel log is full of <
	e.SetIndent("", "  ")
	return e.Encode(r)
}
