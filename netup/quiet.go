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
	kept := sysctls{}
	for _, s := range [...]struct{ key, only, value string }{
		{"arp_ignore", "0", "1"}, {"arp_announce", "0", "2"}, {"rp_filter", "1", "2"},
	} {
		file := "/proc/sys/net/ipv4/conf/" + name + "/" + s.key
		old, err := os.ReadFile(file)
		if old = bytes.TrimSpace(old); err != nil || string(old) != s.only {
			continue // no /proc yet, or someone chose a value
		}
		if err := os.WriteFile(file, []byte(s.value), 0); err != nil {
			log.Debug(fmt.Sprintf("%s: %v", name, err))
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
	return errors.Join(flush(log, l.index), setDown(log, l.index), resetMTU(log, l.index, l.mtu))
}
