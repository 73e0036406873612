// Package network is the boot's step of that name: it brings up the link that
// leads to the image, and tells all the while what the links do.
package network

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"netstage/netup"
	"netstage/netup/lease"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// Cards knows of the drivers of network cards.
type Cards interface {
	Undriven() []string // a line for each card without a driver
	WhyNone() []string  // why there may be no card, a line each
}

// A Connection is how the machine is on the network.
type Connection struct {
	Log   *slog.Logger
	Cards Cards
	Root  string // the initramfs

	*netup.Network // nil: the machine is on none

	won  *lease.Lease // with which the network last came up
	host string       // by DHCP
	last Table        // of a network that is gone
}

// An Order says which network is wanted, and who is told meanwhile.
type Order struct {
	Config config.Config
	Status func(string) // shows progress on the console; "" when it ends
	Alive  func()       // is called with each sign of life
}

// diskInstead is how long the network is waited for where the image may be on a
// disk, too.
const diskInstead = time.Minute

// Up brings up the link that leads to the image. Where it does not come up and
// a disk may have the image, there is no Network, and no error.
func (c *Connection) Up(ctx context.Context, o Order) error {
	if c.Network != nil { // a retry
		c.Close()
		c.Network = nil
	}
	limit, why := o.Config.NetworkTimeout, "boot.network_timeout=%.0f is over"
	elsewhere := o.Config.HasDisk() || o.Config.MayBeOffline()
	if limit == 0 && elsewhere {
		limit, why = diskInstead, "%.0f s are over, and a disk may have the image"
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf(why, limit.Seconds()))
		defer cancel()
	}
	network, err := c.race(ctx, o)
	o.Status("")
	c.keepLinks(err)
	if fault.ClassOf(err) == fault.NoNIC {
		err = c.explainNoNIC(err)
	}
	if err != nil && elsewhere {
		c.Log.Warn(fmt.Sprintf("%v; the image may be on a disk", err), "what", "network", "class", fault.ClassOf(err))
		return nil
	}
	if err != nil {
		return err
	}
	won := network.Lease()
	c.Network, c.won = network, &won
	// For the tools of the debug shell; the agent asks the servers itself.
	if err := os.WriteFile(filepath.Join(c.Root, resolvConf), network.ResolvConf(), 0o644); err != nil {
		c.log().Warn("the shell will look no names up", "err", err)
	}
	return nil
}

// explainNoNIC looks for the reason why there is no NIC.
func (c *Connection) explainNoNIC(err error) error {
	missing := c.Cards.WhyNone()
	if len(missing) == 0 {
		return err
	}
	return fault.Errorf(fault.NoDriver, "%s (%w)", strings.Join(missing, "; "), err)
}

// Won is the lease with which the network last came up; nil: it never did.
func (c *Connection) Won() *lease.Lease { return c.won }

// Host is the machine's name by DHCP, also when the network is gone.
func (c *Connection) Host() string {
	if c.Network != nil {
		c.host = c.Lease().Host
	}
	return c.host
}

func (c *Connection) log() *slog.Logger { return c.Log.With("what", "network") }
