package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/attest"
	"netstage/cmd/netstage/netboot"
	"netstage/fetch"
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

Behind a proxy machines are sent to what they asked the proxy for, its Host, by
http. Where the proxy speaks https, has a path of its own or changes the Host,
say how machines reach it by --url, or let it tell by --forwarded. --tls serves
https without a proxy.

Names that end in .key or _key, that begin with a dot, and files that not
everybody may read are not served.

With --reports machines are told to report their boots (boot.report=), and
/reports/ shows how the last boot of each went. Anybody who reaches this server
can send reports and read them; the ten newest of a machine are kept, in
DIR/reports/, 256 MiB of them all together, and of at most 256 machines that
one address tells of. Machines with a TPM have it sign what they booted; the
page shows whether that is what --expect says, and whether it is the TPM that
--tpm-keys names for the machine, or else the one that it had before.

With --from, what machines boot is in an OCI registry ("netstage push"): kernel,
initrds and cmdline of the tag are kept in --cache and served from there, and
machines are given the image's reference, by digest, to fetch it from the
registry themselves. What the tag means is asked again every --poll: to push a
new tag is a roll-out, to push the old one again is the way back. Without the
registry the last that is known is served. What no tag means any more stays in
the cache for a day, within --cache-size. --rules FILE has machines with tags of
their own, a MAC address and a tag on each line.

Every request is logged on standard output. On SIGINT or SIGTERM no more
requests are taken, and those that run have the grace time to end.

examples:
  netstage serve --dir /srv/boot
  netstage serve --dir /srv/boot --listen 10.0.0.1:80 --reports >>access.log
  netstage serve --from oci://registry.example/web:stable --cache /var/cache/netstage`

func newServe(std streams) *cobra.Command {
	fs := newFlags()
	dir := fs.String("dir", "", "the folder `DIR` to serve")
	listen := fs.String("listen", ":8080", "the `ADDRESS` to listen on: HOST:PORT or :PORT")
	extra := fs.String("append", "", "more kernel `PARAMETERS` for every machine")
	keep := fs.Bool("reports", false, "take boot reports from machines, and show them at /reports/")
	token := fs.String("report-token", "", "take reports with the bearer token in `FILE` alone; machines have it in /etc/netstage/report-token")
	var expect list
	fs.Var(&expect, "expect", "the PCRs that a machine should have, in a `FILE` of netstage predict; may be repeated, for one of several")
	enrolled := fs.String("tpm-keys", "", "the keys of machines' TPMs: MACHINE KEY on each line of `FILE` (default the first of a machine is believed)")
	public := fs.String("url", "", "machines reach this server by `URL`, which a proxy in front may have (default what they ask for)")
	forwarded := fs.Bool("forwarded", false, "believe X-Forwarded-Proto, -Host and -Prefix: only behind a proxy that sets them")
	pair := fs.String("tls", "", "serve https with the certificates and the key in the files `CERT:KEY`, in PEM")
	var from fromFlags
	from.flags(fs)
	grace := fs.Duration("grace", 30*time.Second, "how long `DURATION` downloads may run on when the server is to stop")
	return mark(newCommand("netstage serve --dir DIR|--from REF [--listen ADDRESS]", "serve boot scripts, kernels and images over HTTP", serveHelp, fs,
		func(ctx context.Context, args []string) error {
			if err := noOperands(args); err != nil {
				return err
			}
			switch {
			case *dir == "" && from.ref == "":
				return usageError("which folder, or which registry? Give --dir DIR or --from REF")
			case *dir != "" && from.ref != "":
				return usageError("--dir has what machines boot, and --from too: which?")
			case *keep && from.ref != "":
				return usageError("--reports needs --dir, a folder to keep them in")
			}
			o := netboot.Options{Dir: *dir, Append: *extra, Reports: *keep, Access: std.out, Log: newLog(std.err), Grace: *grace, Forwarded: *forwarded}
			var err error
			if *public != "" {
				if o.URL, err = netboot.ParseURL(*public); err != nil {
					return usageError("--url " + *public + ": " + err.Error())
				}
			}
			if o.TLS, err = readPair(*pair); err != nil {
				return err
			}
			if (len(expect) > 0 || *enrolled != "") && !*keep {
				return usageError("--expect and --tpm-keys are about reports: give --reports, too")
			}
			if *token != "" {
				text, err := os.ReadFile(*token)
				if err == nil {
					o.ReportToken, err = fetch.ParseToken(text)
				}
				if err != nil {
					return fmt.Errorf("--report-token: %w", err)
				}
			}
			for _, file := range expect {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				e, err := attest.ParseExpected(text)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				o.Expected = append(o.Expected, e)
			}
			if *enrolled != "" {
				text, err := os.ReadFile(*enrolled)
				if err == nil {
					o.Keys, err = attest.ParseKeys(string(text))
				}
				if err != nil {
					return fmt.Errorf("--tpm-keys: %w", err)
				}
			}
			log := o.Log
			if from.ref != "" {
				stop, err := from.start(ctx, &o)
				if err != nil {
					return err
				}
				defer stop()
				*dir = from.ref
			}
			server, err := netboot.New(o)
			if err != nil {
				return err
			}
			defer server.Close()
			l, err := net.Listen("tcp", *listen)
			switch {
			case errors.Is(err, syscall.EADDRINUSE):
				return fmt.Errorf("--listen %s: another program listens there; stop it, or give another port", *listen)
			case errors.Is(err, syscall.EACCES):
				return fmt.Errorf("--listen %s: %w: ports below 1024 are root's, or need CAP_NET_BIND_SERVICE", *listen, syscall.EACCES)
			case err != nil:
				return fmt.Errorf("--listen %s: %w", *listen, err)
			}
			origin := o.URL
			if origin == "" {
				scheme := map[bool]string{false: "http", true: "https"}[o.TLS != nil]
				origin = scheme + "://" + l.Addr().String() + "/"
			}
			log.Info(fmt.Sprintf("serving %s: %sboot.ipxe", *dir, origin))
			if *keep {
				log.Info(fmt.Sprintf("boots are reported at %sreports/", origin))
			}
			if boot, err := server.Plan(); err != nil {
				log.Warn("nothing to boot yet: " + err.Error())
			} else {
				log.Info(describe(boot))
				for _, warning := range boot.Warnings() {
					log.Warn(warning)
				}
			}
			return server.Serve(ctx, l)
		}), unhurried)
}

// describe says in one line what machines boot.
func describe(b netboot.Boot) string {
	s := fmt.Sprintf("machines boot %s with %s", b.Kernel, strings.Join(b.Initrds, ", "))
	switch {
	case b.Image != "" && b.RootHash != "":
		s += fmt.Sprintf(" and the image %s (root hash %.12s…)", b.Image, b.RootHash)
	case b.Image != "" && b.SHA256 != "":
		s += fmt.Sprintf(" and the image %s (sha256 %.12s…)", b.Image, b.SHA256)
	case b.Image != "":
		s += " and the image " + b.Image
	}
	return s
}

// readPair reads CERT:KEY; nil for "".
func readPair(pair string) (*tls.Config, error) {
	if pair == "" {
		return nil, nil
	}
	certificate, key, found := strings.Cut(pair, ":")
	if !found {
		return nil, usageError("--tls " + pair + " is not CERT:KEY")
	}
	loaded, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("--tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{loaded}, NextProtos: []string{"http/1.1"}}, nil
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
