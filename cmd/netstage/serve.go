package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/netboot"
)

const serveHelp = `Serves a folder to machines that boot from the network, over HTTP, with ranges.
Point iPXE at http://THIS-HOST:PORT/boot.ipxe: that script is made from what
the folder holds, at each request:

  bzImage, vmlinuz or vmlinuz-*    the kernel
  initrd*                          every one of them, in order of their names
  nix-store.squashfs or *.squashfs the system image, if no initrd holds it
  *.squashfs.roothash, .verity     its verity tree, by which the machine then verifies it
  *.squashfs.sha256                its digest, likewise where there is no tree
  cmdline                          more kernel parameters; init=, at least

A folder named like a MAC address, aa-bb-cc-dd-ee-ff, holds what is different
for that machine. A file boot.ipxe in DIR is served instead of a made one.
With dnsmasq as the DHCP server:

  dhcp-match=set:ipxe,175
  dhcp-boot=tag:!ipxe,undionly.kpxe
  dhcp-boot=tag:ipxe,http://10.0.0.1:8080/boot.ipxe

With --reports machines are told to report their boots (boot.report=), and
/reports/ shows how the last boot of each went. Anybody who reaches this server
can send reports and read them; the ten newest of a machine are kept, in
DIR/reports/.

Every request is logged on standard output. On SIGINT or SIGTERM no more
requests are taken, and those that run have the grace time to end.

examples:
  netstage serve --dir /srv/boot
  netstage serve --dir /srv/boot --listen 10.0.0.1:80 --reports >>access.log`

func newServe(std streams) *cobra.Command {
	fs := newFlags()
	dir := fs.String("dir", "", "the folder `DIR` to serve")
	listen := fs.String("listen", ":8080", "the `ADDRESS` to listen on: HOST:PORT or :PORT")
	extra := fs.String("append", "", "more kernel `PARAMETERS` for every machine")
	keep := fs.Bool("reports", false, "take boot reports from machines, and show them at /reports/")
	grace := fs.Duration("grace", 30*time.Second, "how long `DURATION` downloads may run on when the server is to stop")
	return newCommand("netstage serve --dir DIR [--listen ADDRESS]", "serve boot scripts, kernels and images over HTTP", serveHelp, fs,
		func(ctx context.Context, args []string) error {
			if err := noOperands(args); err != nil {
				return err
			}
			if *dir == "" {
				return usageError("which folder? Give --dir DIR")
			}
			log := newLog(std.err)
			server, err := netboot.New(netboot.Options{Dir: *dir, Append: *extra, Reports: *keep, Access: std.out, Log: log, Grace: *grace})
			if err != nil {
				return err
			}
			defer server.Close()
			l, err := net.Listen("tcp", *listen)
			if err != nil {
				return err
			}
			log.Info(fmt.Sprintf("serving %s: http://%s/boot.ipxe", *dir, l.Addr()))
			if *keep {
				log.Info(fmt.Sprintf("boots are reported at http://%s/reports/", l.Addr()))
			}
			if boot, err := server.Plan(); err != nil {
				log.Warn("nothing to boot yet: " + err.Error())
			} else {
				log.Info(describe(boot))
			}
			return server.Serve(ctx, l)
		})
}

// describe says in one line what machines boot.
func describe(b netboot.Boot) string {
	s := fmt.Sprintf("machines boot %s with %s", b.Kernel, strings.Join(b.Initrds, ", "))
	switch {
	case b.Image != "" && b.SHA256 != "":
		s += fmt.Sprintf(" and the image %s (sha256 %.12s…)", b.Image, b.SHA256)
	case b.Image != "":
		s += fmt.Sprintf(" and the image %s, which nothing vouches for (no %s.sha256)", b.Image, b.Image)
	}
	return s
}

// newLog returns a logger for people: the message, and a level that matters.
func newLog(w interface{ Write([]byte) (int, error) }) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}
