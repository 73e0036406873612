package network

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"netstage/netup/networkd"
	"netstage/stage1/config"
)

// What stage 2 finds with boot.network=keep: the format of networkd.State,
// files for systemd-networkd that come before the defaults (99-…) and after
// what an administrator named as usual (10-…, NixOS 40-…), and the name
// servers, also at /etc/resolv.conf where the image has none.
const (
	networkFile = "/run/netstage/network.json"
	networkdDir = "/run/systemd/network"
	resolvFile  = "/run/netstage/resolv.conf"
	resolvConf  = "/etc/resolv.conf"
)

// Leave leaves the network to stage 2: links down, as it expects them, or up
// where keep says so. There is no Network afterwards.
func (c *Connection) Leave(ctx context.Context, keep bool) error {
	if c.Network == nil {
		return nil
	}
	c.keepLinks(nil)
	defer func() { c.Network = nil }()
	if keep {
		return errors.Join(describe(c.Root, c.Networkd(), c.ResolvConf()), c.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.Down(ctx)
}

// describe tells stage 2 of the network that stays up.
func describe(root string, kept networkd.State, resolv []byte) error {
	text, err := kept.JSON()
	if err != nil {
		return err
	}
	own := filepath.Join(config.NewRoot, resolvConf)
	files := map[string][]byte{networkFile: text, resolvFile: resolv, own: resolv}
	for name, text := range kept.Files() {
		files[filepath.Join(networkdDir, name)] = text
	}
	var errs []error
	for name, text := range files {
		path := filepath.Join(root, name)
		// What the image has, a link to come included, is its own business.
		if _, err := os.Lstat(path); name == own && err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.WriteFile(path, text, 0o644))
	}
	return errors.Join(errs...)
}
