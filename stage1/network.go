package stage1

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/netup"
	"netstage/netup/lease"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// bringUpNetwork brings up the NIC that leads to the image.
func (b *Boot) bringUpNetwork(ctx context.Context) error {
	b.checkWatchdog(ctx)
	if !b.config.NeedsNetwork() {
		b.Log.Info("network: not needed, nothing is fetched")
		if b.config.LogTo != "" {
			b.Log.Warn("boot.log: not sent: this boot needs no network")
		}
		return nil
	}
	b.endLog()
	if b.network.Network != nil { // a retry
		b.network.Close()
		b.network.Network = nil
	}
	limit, why := b.config.NetworkTimeout, "boot.network_timeout=%.0f is over"
	if limit == 0 && b.config.HasDisk() {
		limit, why = diskInstead, "%.0f s are over, and a disk may have the image"
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf(why, limit.Seconds()))
		defer cancel()
	}
	network, err := b.up(ctx)
	b.Status("")
	b.keepLinks(err)
	if fault.ClassOf(err) == fault.NoNIC {
		err = b.explainNoNIC(err)
	}
	if err != nil && b.config.HasDisk() {
		b.Log.Warn(fmt.Sprintf("network: %v; the image may be on a disk", err))
		return nil
	}
	if err != nil {
		return err
	}
	b.network.Network = network
	b.network.lease = leaseOf(network.Lease())
	// For the tools of the debug shell; the agent asks the servers itself.
	if err := os.WriteFile("/etc/resolv.conf", network.ResolvConf(), 0o644); err != nil {
		b.Log.Warn(fmt.Sprintf("network: the shell will look no names up: %v", err))
	}
	b.startLog()
	return nil
}

// diskInstead is how long the network is waited for where the image may be on a
// disk, too.
const diskInstead = time.Minute

// explainNoNIC looks for the reason why there is no NIC.
func (b *Boot) explainNoNIC(err error) error {
	missing := b.devices.WhyNone()
	if len(missing) == 0 {
		return err
	}
	return fault.Errorf(fault.NoDriver, "%s (%w)", strings.Join(missing, "; "), err)
}

// provePath tells whether a lease leads to a server of the image. TFTP knows
// no connect: where it may bring the image, the lease is proof enough.
func (b *Boot) provePath(ctx context.Context, lease lease.Lease) error {
	var addresses []string
	var last error
	unproven := false
	for _, l := range b.config.Remote() {
		address, err := serverOf(b.config, l, b.base(lease))
		if err != nil {
			last = err
		} else if address == "" {
			unproven = true
		} else if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	switch {
	case len(addresses) == 0 && unproven:
		return nil
	case len(addresses) == 0:
		return last
	}
	err := reach(ctx, netup.Path{Lease: lease}.DialContext, addresses)
	if unproven {
		return nil
	}
	return err
}

// serverOf is the host:port to connect to for what l means with base: a
// proxy's, where there is one. "" means that there is nothing to connect to.
func serverOf(c config.Config, l ref.Location, base ref.Base) (string, error) {
	l, err := l.Resolve(base)
	if err != nil || l.Scheme() == "tftp" {
		return "", err
	}
	u := l.URL()
	if c.Proxy != "" {
		if u, err = config.ParseProxy(c.Proxy); err != nil {
			return "", err
		}
	}
	return fetch.HostPort(u), nil
}

// base is what relative references mean with this lease.
func (b *Boot) base(lease lease.Lease) ref.Base {
	base := ref.Base{Rootfs: b.config.Base, BootFile: lease.BootFile, NextServer: lease.NextName}
	if strings.HasPrefix(strings.ToLower(base.BootFile), "tftp:") {
		base.BootFile = "" // that a boot loader came by TFTP does not mean that an image should
	}
	if lease.Next.IsValid() {
		base.NextServer = lease.Next.String()
	}
	return base
}
