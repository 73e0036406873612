package qemutests

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// A soakBoot is a scenario with what is done to it while it runs.
type soakBoot struct {
	scenario
	given  []string      // faults that are there from the start
	faults []injection   // by their moment
	sha256 string        // of the image that may be handed over to
	bound  time.Duration // within which it has to end
	mayEnd bool          // with another end than stage 2: some fault is no passing one
	mute   bool          // the console may have shown nothing
	dies   bool          // the rescue may die, too
}

// An injection is a fault: something done to a machine that boots.
type injection struct {
	name string
	at   moment
	does func(*played) error
}

// A moment is some time after the kernel log has shown a text, or after the
// start.
type moment struct {
	text  string
	after time.Duration
}

// come waits for the moment, and tells whether the machine is there to see it.
func (m moment) come(machine *nsmachine.Machine) bool {
	for range 2000 { // ten seconds: it may never get there
		if m.text == "" || strings.Contains(machine.Kmsg.String(), m.text) {
			break
		}
		select {
		case <-machine.Ended():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	select {
	case <-machine.Ended():
		return false
	case <-time.After(m.after):
		return true
	}
}

func (b soakBoot) names() []string {
	names := slices.Clone(b.given)
	for _, f := range b.faults {
		names = append(names, f.name)
	}
	return names
}

func (b soakBoot) String() string {
	lines := slices.Clone(b.given)
	for _, f := range b.faults {
		lines = append(lines, fmt.Sprintf("%s, %s after %q", f.name, f.at.after, f.at.text))
	}
	return "  " + strings.Join(lines, "\n  ")
}

// sworn is a stage 2 that tells the digest of what it is mounted from.
func sworn(name string) system.Files {
	return system.Files{"nixos-version": "25.05", "init": system.Script(`
echo "stage 2: pid $$"
while read -r source target type rest; do
	if [ $target = /nix/.ro-store ]; then device=$source; fi
done < /proc/self/mounts
used=$(busybox od -A n -t u8 -j 40 -N 8 $device) # of the superblock
echo "` + name + `: $(head -c $(((used + 4095) / 4096 * 4096)) $device | busybox sha256sum)"
echo "stage 2 done"
` + system.PowerOff)}
}

// draw draws boots.
type draw struct{ *rand.Rand }

// of draws one of several.
func of[T any](d *draw, list ...T) T { return list[d.IntN(len(list))] }

// chance is true in one of n cases.
func (d *draw) chance(n int) bool { return d.IntN(n) == 0 }

// upTo draws a duration, short ones more often.
func (d *draw) upTo(most time.Duration) time.Duration {
	return time.Duration(float64(most) * d.Float64() * d.Float64())
}

// moment draws one of a boot, most of them where a boot spends its time.
func (d *draw) moment() moment {
	text := of(d, "", "pseudo (1/8)", "modules (3/8)", "devices (4/8)", "network (5/8)", "image (6/8)", "root (7/8)", "handover (8/8)")
	most := 400 * time.Millisecond
	if d.chance(4) {
		most = 3 * time.Second
	}
	return moment{text, d.upTo(most)}
}

// boot draws a machine and what happens to it.
func (d *draw) boot(t *testing.T) soakBoot {
	v := vouchOnce(t, sworn("digest"))
	b := soakBoot{sha256: v.sha256, bound: soakBound}
	b.vouched = &v
	words := []string{"boot.network_timeout=20 boot.fail_timeout=1 rootfs.floor=65536/2"}
	b.copies = map[string]string{}
	local := d.chance(4)
	if local {
		b.copies["/nix-store.squashfs"], b.copies["/nix-store.squashfs.verity"] = "{image}", "{tree}"
	}
	if !local || d.chance(2) {
		b.lan = &network{}
	}
	image := ""
	if !local {
		image = " rootfs={url}"
	}
	switch d.IntN(4) {
	case 0:
		words = append(words, "rootfs.sha256={sha256} init={init}"+image)
	case 1:
		words = append(words, "roothash={roothash} init={init}"+image)
	case 2:
		words = append(words, "rootfs.sha256={sha256} roothash={roothash} init={init}"+image)
	case 3:
		b.copies["/etc/netstage/trusted.d/ops.pub"] = "{ops.pub}"
		if local {
			b.copies["/nix-store.manifest"], b.copies["/nix-store.manifest.minisig"] = "{manifest}", "{minisig}"
			words = append(words, "rootfs.manifest=/nix-store.manifest rootfs=/nix-store.squashfs")
		} else {
			words = append(words, "rootfs.manifest={dir}/test.manifest")
		}
	}
	if b.lan != nil {
		d.network(t, &b, local)
	}
	if !local && len(b.lan.mirrors) > 1 {
		words = append(words, "rootfs={url2}")
	}
	if d.chance(5) {
		b.given, b.mayEnd = append(b.given, "odd command line"), true
		words = append(words, d.words()...)
		b.bound += 3 * time.Minute // boot.fail_timeout= may not be understood: two screens for as long as they last without
	}
	d.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	b.cmdline = strings.Join(words, " ")
	if d.chance(12) {
		b.given, b.mayEnd = append(b.given, "small tmpfs"), true
		// The agent and an image have room, and little else.
		b.size = fmt.Sprintf("%dk", 14<<10+d.IntN(8<<10))
	}
	for range d.IntN(4) {
		b.faults = append(b.faults, d.injection(&b)...)
	}
	return b
}

// words draws words of a command line that nobody should write. None names a
// server that never comes up as the only one: a boot waits for that as long as
// it takes.
func (d *draw) words() []string {
	all := []string{
		"rootfs.floor=x", "ip=junk", "ip=10.77.0.9:::::eth7:off", `x="unbalanced`, "console=", "console=ttyS9", "init=/bin/sh", "init=", "root=LABEL=none",
		"rootfs=", "rootfs=ftp://10.77.0.1/", "rootfs.sha256=" + strings.Repeat("0", 64), "roothash=xyz", "copytoram",
		"boot.log=udp://10.77.0.1:9", "boot.report=http://10.77.0.1:9/", "boot.trace", "loglevel=7", "debug", "quiet", "boot.watchdog=5", "boot.ssh",
		"vlan=eth0.5:eth0", "bond=bond0:eth0:mode=1", "ifname=lan0:52:54:00:00:00:01", "BOOTIF=01-52-54-00-00-00-01", "rd.route=1.2.3.0/24:10.77.0.1",
		"nameserver=10.77.0.1", "boot.network=keep", "boot.fail_timeout=-1", "boot.network_timeout=1", "boot.persistence=LABEL=none", "findiso=/none.iso",
		strings.Repeat("unknown.parameter=1 ", 90), "x.y=\x01", "\xff\xfe", "=", "rootfs.verity.mount", "rootfs.token=/etc/none",
		"rootfs.ca=/none", "live.nixos.password=x", "systemd.unit=rescue.target", "--", "-- init=/bin/sh",
	}
	d.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+d.IntN(3)]
}

// network draws the faults of servers.
func (d *draw) network(t *testing.T, b *soakBoot, local bool) {
	n := b.lan
	n.mirrors = []mirror{d.mirror(t, b)}
	if !local && d.chance(3) {
		n.mirrors = append(n.mirrors, d.mirror(t, b))
	}
	switch d.IntN(12) {
	case 0:
		n.noDHCP, b.given = true, append(b.given, "late DHCP")
		b.faults = append(b.faults, injection{"DHCP comes up", moment{"", d.upTo(4 * time.Second)}, func(p *played) error { p.lan.DHCP(p.t); return nil }})
	case 1:
		n.noDHCP, b.given, b.mayEnd = true, append(b.given, "no DHCP"), true
	case 2:
		n.options, b.given = []string{"--dhcp-option=option:router"}, append(b.given, "no router")
	case 3:
		n.options, b.given = []string{"--dhcp-range=10.77.0.100,10.77.0.199,2m", "--dhcp-reply-delay=1"}, append(b.given, "slow DHCP")
	case 4:
		n.options, b.given = []string{"--dhcp-option=option:mtu,600", "--dhcp-option=option:dns-server,10.77.0.254"}, append(b.given, "odd DHCP options")
	case 5:
		n.firewall, b.given = `
			chain out { type filter hook output priority 0; numgen random mod 100 < 8 drop; }
			chain in { type filter hook input priority 0; numgen random mod 100 < 8 drop; }`, append(b.given, "packet loss")
	case 6:
		n.firewall, b.given = `
			chain in { type filter hook input priority 0; meta l4proto tcp numgen random mod 40 == 9 reject with tcp reset; }`, append(b.given, "resets")
		b.mayEnd = true // a small image in many resets
	}
	if d.chance(10) {
		n.noCarrier, b.given = true, append(b.given, "late carrier")
		b.faults = append(b.faults, injection{"cable in", moment{"", d.upTo(4 * time.Second)}, func(p *played) error { return p.lan.TryCable(true) }})
	}
}

// mirror draws a server with up to four faults.
func (d *draw) mirror(t *testing.T, b *soakBoot) mirror {
	size := int64(len(b.vouched.content))
	cut := func() int64 { return d.Int64N(size) }
	var m mirror
	for range d.IntN(5) {
		passing := []faulty.Behaviour{
			{Status: of(d, 429, 500, 502, 503, 504), RetryAfter: of(d, "", "1", "x")},
			{End: of(d, faulty.EndClose, faulty.EndReset, faulty.EndStall), Cut: cut()},
			{End: of(d, faulty.EndClose, faulty.EndReset), Cut: cut(), Chunked: true},
			{NoRanges: true, End: faulty.EndClose, Cut: cut()}, {NoValidators: true, End: faulty.EndClose, Cut: cut()}, {ETag: `"other"`, End: faulty.EndReset, Cut: cut()},
			{DelayMS: d.IntN(1500)}, {Rate: 300_000 + d.Int64N(3_000_000)}, {Chunked: true}, {NoLength: true}, {NoRanges: true},
		}
		lies := []faulty.Behaviour{
			{Location: "http://10.77.0.1:9/"}, {Length: 1 << 45}, {Length: 1 + cut()}, {ContentRange: "bytes 0-9/10"}, {Hang: true},
			{IgnoreIf: true, ETag: `"other"`, End: faulty.EndClose, Cut: cut()}, {NoLength: true, End: faulty.EndClose, Cut: cut()},
		}
		permanent := []faulty.Behaviour{
			{Status: of(d, 400, 401, 403, 404, 410)}, {Location: "loop"}, {Flip: []int64{cut(), cut()}}, {Encoding: "gzip"},
		}
		behaviour := of(d, passing...)
		switch d.IntN(8) {
		case 0:
			behaviour, b.mayEnd = of(d, lies...), true
		case 1:
			behaviour, b.mayEnd = of(d, permanent...), true
			behaviour.Times = of(d, 0, 0, -1)
		}
		m.script = append(m.script, behaviour)
		b.given = append(b.given, "server fault")
	}
	if d.chance(8) {
		m.content = vouchOnce(t, sworn("unverified")).content
		b.given, b.mayEnd = append(b.given, "another image"), true
	}
	if d.chance(15) {
		m.late = true
		b.given = append(b.given, "late server")
		b.faults = append(b.faults, injection{"servers come up", moment{"", d.upTo(3 * time.Second)}, func(p *played) error { opens(p); return nil }})
	}
	return m
}
