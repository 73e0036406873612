// Pictures boots machines in QEMU and takes the pictures of the documents: a
// screen that shows a good boot, and the screens of failures, which it also
// prints as a serial console shows them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"netstage/cmd/netstage/vm"
)

// A scene is a machine and what makes its boot fail.
type scene struct {
	class   string // "" for a boot that succeeds
	picture string // its name in the documents; "" for text alone
	change  func(*vm.Config)
	begin   func(context.Context, *vm.Machine) error // what is done to the machine; may be nil
}

var scenes = []scene{
	{class: "", picture: "boot.png", change: func(*vm.Config) {}},
	{class: "http-404", picture: "boot-failed.png", change: func(c *vm.Config) { c.Append += " rootfs=nix-store-2026-11-22.squashfs"; c.Image = "" }},
	{class: "no-nic", change: func(c *vm.Config) { c.NoNIC = true }},
	{
		class: "no-carrier", change: func(c *vm.Config) { c.Append += " boot.network_timeout=20" },
		begin: func(ctx context.Context, m *vm.Machine) error { return m.SetLink(ctx, 0, false) },
	},
	{class: "no-lease", change: func(c *vm.Config) {
		c.Append += " boot.network_timeout=20"
		c.NICs = []vm.NIC{{Backend: "socket,listen=127.0.0.1:0"}} // a cable to nobody
	}},
	{class: "dns", change: func(c *vm.Config) {
		c.Append += " boot.network_timeout=20 rootfs=http://images.invalid/nix-store.squashfs"
		c.Image = ""
	}},
	{class: "mismatch", change: func(c *vm.Config) { c.Unverified = true; c.Append += " rootfs.sha256=" + strings.Repeat("0", 64) }},
	{class: "no-init", change: func(c *vm.Config) {
		c.Init = "/nix/store/f93fqw9ha2xm4v6d0cz6yq8s2b1kpl3j-nixos-system-rack12-25.11/init"
	}},
	{
		class: "killed", change: func(c *vm.Config) { c.Append += " boot.debug1devices"; c.Memory = 384 },
		begin: func(ctx context.Context, m *vm.Machine) error {
			for _, say := range []struct{ after, keys string }{
				{"leaves it", "tail /dev/zero\r"}, // takes all memory
				{"tail: killed", "kill -9 $(ps | grep ' boot$' | head -n 1 | while read pid rest; do echo $pid; done)\r"},
			} {
				if _, err := m.Expect(ctx, say.after); err != nil {
					return err
				}
				if err := m.Send(say.keys); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{class: "bad-parameter", change: func(c *vm.Config) { c.Append += " rootfs.sha256=d41d8cd9 boot.fail_timeout=soon" }},
}

func main() {
	var c vm.Config
	var only string
	var initrd, out string
	flag.StringVar(&c.Kernel, "kernel", "", "the kernel")
	flag.StringVar(&initrd, "initrd", "", "the initrd, with the agent")
	flag.StringVar(&c.Image, "image", "", "the demo system's image")
	flag.StringVar(&c.Init, "init", "", "its stage 2")
	flag.StringVar(&out, "out", "docs", "where the pictures go")
	flag.StringVar(&only, "only", "", "one `CLASS` alone")
	flag.Parse()
	c.Initrds, c.Direct, c.Memory = []string{initrd}, true, 1024
	failed := false
	for _, s := range scenes {
		if only != "" && only != s.class {
			continue
		}
		if err := s.take(c, out); err != nil {
			fmt.Fprintf(os.Stderr, "pictures: %q: %v\n", s.class, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// take boots the scene's machine and takes its picture, or prints its screen.
func (s scene) take(c vm.Config, out string) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), 3*time.Minute, errors.New("three minutes are over"))
	defer cancel()
	c.Append = "quiet loglevel=4 console=ttyS0"
	if s.picture != "" {
		c.Append = "console=ttyS0 console=tty0"
	}
	s.change(&c)
	m, err := vm.Start(ctx, c)
	if err != nil {
		return err
	}
	defer m.Close()
	if s.begin != nil {
		if err := s.begin(ctx, m); err != nil {
			return err
		}
	}
	if s.class == "" {
		// The machine stays as it is when it switches itself off.
		if _, err := m.QMP(ctx, "set-action", map[string]any{"shutdown": "pause"}); err != nil {
			return err
		}
		if _, err := m.Expect(ctx, "Power down"); err != nil {
			return err
		}
	} else {
		for _, text := range []string{"boot failed: " + s.class + " ===", "Keys: ", "other: retry"} {
			if _, err := m.Expect(ctx, text); err != nil {
				return err
			}
		}
	}
	if s.picture == "" {
		console := m.Console()
		fmt.Println(strings.TrimSpace(console[strings.LastIndex(console, "=== boot failed"):]) + "\n")
		return nil
	}
	time.Sleep(2 * time.Second) // the countdown, and what the screen still has to draw
	dump := filepath.Join(os.TempDir(), fmt.Sprintf("netstage-picture-%d.ppm", os.Getpid()))
	defer os.Remove(dump)
	if err := m.Screendump(ctx, dump); err != nil {
		return err
	}
	return convert(dump, filepath.Join(out, s.picture))
}
