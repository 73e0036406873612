package netup

import (
	"context"
	"log/slog"
	"time"

	"netstage/netup/ipparam"
	"netstage/netup/lease"
	"netstage/netup/linktable"
)

// Options says how to bring the network up. Only Log must be set.
type Options struct {
	// Log receives Info lines for what changes, Warn for faults survived and
	// Debug for every change made to the kernel.
	Log *slog.Logger
	// Config is what the operator fixed: ip=, BOOTIF=, ifname=, nameserver=,
	// rd.route=. The zero value is DHCP and IPv6 autoconfiguration on every
	// link, whichever leads there first, and what the firmware's iBFT says for
	// the one that it booted from.
	Config ipparam.Config
	// Sysfs is where sysfs is mounted; "/sys" when empty.
	Sysfs string
	// PNP is the file in which the kernel's own ip= autoconfiguration leaves
	// its name servers, beside ipconfig/ntp_servers with its time servers;
	// "/proc/net/pnp" when empty.
	PNP string
	// NoNICTimeout is how long a machine may show no link at all before Up
	// fails with class no-nic; 60 s when zero.
	NoNICTimeout time.Duration
	// BootIFTimeout is how long only the card of BOOTIF= is waited for, where
	// the machine has none with that address, as behind a dock; 20 s when zero.
	BootIFTimeout time.Duration
	// Prove says whether a lease leads to where the caller wants to go. It is
	// called with the lease's addresses and routes installed, for several
	// links at a time, and again after a pause when it fails. Use
	// Lease.Dialer to stay on the lease's link. It must return soon after its
	// context ends. When nil, the first lease with a route off-link wins.
	Prove func(context.Context, lease.Lease) error
	// ProveTimeout bounds one call of Prove; 30 s when zero.
	ProveTimeout time.Duration
	// VendorClass is DHCPv4's option 60; "netstage" when empty. DHCPv6's takes
	// the number of an enterprise, and is not sent.
	VendorClass string
	// UserClass is DHCP option 77 (RFC 3004) and DHCPv6 option 15, not sent
	// when empty; at most 254 bytes.
	UserClass string
	// HostName is what DHCP servers are told, where a link has no other name.
	HostName string
	// Grace is how long a lease that is link-local or leads nowhere waits for
	// a better one before it wins without a proof; 10 s when zero.
	Grace time.Duration
	// BounceAfter is how long a link with carrier may be without a lease before
	// it is set down and up again, once: longer than spanning tree holds a
	// port. At 10 Mb/s it is a sixth of that. 90 s when zero.
	BounceAfter time.Duration
	// Report is the time before the first "still waiting" line; the next ones
	// come ever later, up to a minute apart. 5 s when zero.
	Report time.Duration
	// Watch is told the table of links: every Every while Up waits, once Up
	// has a winner, and when it has changed after that, until the Network is
	// closed. Calls come one after another; nothing else is done with the
	// links before one returns. May be nil.
	Watch func([]linktable.Row)
	// Every is 1 s when zero.
	Every time.Duration
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.NoNICTimeout, time.Minute)
	def(&o.BootIFTimeout, 20*time.Second)
	def(&o.ProveTimeout, 30*time.Second)
	def(&o.Grace, 10*time.Second)
	def(&o.Report, 5*time.Second)
	def(&o.BounceAfter, 90*time.Second)
	def(&o.Every, time.Second)
	if o.Sysfs == "" {
		o.Sysfs = "/sys"
	}
	if o.PNP == "" {
		o.PNP = "/proc/net/pnp"
	}
	if o.VendorClass == "" {
		o.VendorClass = "netstage"
	}
	return o
}
