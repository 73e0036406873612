package netup

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// sysctls are settings of a link as they were: file to value.
type sysctls map[string][]byte

// quiet keeps links on one subnet apart while several are configured: each
// answers ARP only for its own addresses (arp_ignore, arp_announce in the
// kernel's ip-sysctl.rst), or replies arrive on a link whose socket is not
// waiting for them. Strict reverse path filtering would drop them too.
func quiet(log *slog.Logger, name string) sysctls {
	return set(log, "/proc/sys/net/ipv4/conf/"+name+"/", []sysctl{
		{"arp_ignore", "0", "1"}, {"arp_announce", "0", "2"}, {"rp_filter", "1", "2"},
	})
}

// manual keeps the kernel from configuring IPv6 on a link by itself, and from
// waiting for duplicates of what is configured.
func manual(log *slog.Logger, name string) sysctls {
	return set(log, "/proc/sys/net/ipv6/conf/"+name+"/", []sysctl{
		{"accept_ra", "1", "0"}, {"accept_dad", "1", "0"}, {"addr_gen_mode", "0", "1"},
	})
}

// sysctl is a setting to be made where it has its default.
type sysctl struct{ key, only, value string }

// set returns what it changed, as it was.
func set(log *slog.Logger, dir string, list []sysctl) sysctls {
	kept := sysctls{}
	for _, s := range list {
		file := dir + s.key
		old, err := os.ReadFile(file)
		if old = bytes.TrimSpace(old); err != nil || string(old) != s.only {
			continue // no /proc yet, or someone chose a value
		}
		if err := os.WriteFile(file, []byte(s.value), 0); err != nil {
			log.Debug(fmt.Sprintf("write %s: %v", s.value, err))
			continue
		}
		kept[file] = old
	}
	return kept
}

func (k sysctls) restore(log *slog.Logger) {
	for file, old := range k {
		if err := os.WriteFile(file, old, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Debug(fmt.Sprintf("restore %v", err))
		}
	}
}

// release gives a link back: no addresses, no routes, its own settings, down.
func (l *link) release(log *slog.Logger) error {
	l.kept.restore(log)
	err := setDown(log, l.index)
	// Down first, flush last: with its settings back the kernel would give the
	// link addresses again.
	l.kept6.restore(log)
	return errors.Join(err, flush(log, l.index), resetMTU(log, l.index, l.mtu))
}
