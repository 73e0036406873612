package network

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/netup"
	"netstage/netup/lease"
	"netstage/stage1/config"
)

// prove tells whether a lease leads to a server of the image. TFTP knows
// no connect: where it may bring the image, the lease is proof enough.
func prove(ctx context.Context, c config.Config, lease lease.Lease) error {
	var addresses []string
	var last error
	unproven := false
	meant := map[string]string{} // what is fetched there, where the command line does not say
	base := Base(c, lease)
	for _, l := range c.Remote() {
		address, err := serverOf(c, l, base)
		if err != nil {
			last = err
		} else if address == "" {
			unproven = true
		} else if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
			if place, err := l.Resolve(base); err == nil && l.Kind == ref.Relative {
				meant[address] = fmt.Sprintf("%s by %s", place, base.Origin())
			}
		}
	}
	switch {
	case len(addresses) == 0 && unproven:
		return nil
	case len(addresses) == 0:
		return last
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := netup.Path{Lease: lease}.DialContext(ctx, network, address)
		if err != nil && meant[address] != "" {
			err = fmt.Errorf("%s: %w", meant[address], err)
		}
		return conn, err
	}
	err := reach(ctx, dial, addresses)
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

// Base is what relative references mean with this lease.
func Base(c config.Config, lease lease.Lease) ref.Base {
	base := ref.Base{Rootfs: c.Base, BootFile: lease.BootFile, NextServer: lease.NextName}
	if strings.HasPrefix(strings.ToLower(base.BootFile), "tftp:") {
		base.BootFile = "" // that a boot loader came by TFTP does not mean that an image should
	}
	if lease.Next.IsValid() {
		base.NextServer = lease.Next.String()
	}
	return base
}
