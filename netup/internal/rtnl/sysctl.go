package rtnl

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sysctls are settings of a link as they were: file to value.
type Sysctls map[string]string

// SeparateARP keeps links on one subnet apart while several are up: each
// answers ARP only for its own addresses (arp_ignore, arp_announce in the
// kernel's ip-sysctl.rst), or replies arrive on a link whose socket is not
// waiting for them. Strict reverse path filtering would drop them too. For each
// of the three the kernel takes the larger of the value for all links and the
// link's.
func SeparateARP(log *slog.Logger) Sysctls {
	return set(log, "/proc/sys/net/ipv4/conf/all/", []sysctl{
		{"arp_ignore", "0", "1"}, {"arp_announce", "0", "2"}, {"rp_filter", "", "2"},
	})
}

// NoAutoconf keeps the kernel from configuring IPv6 on a link by itself, and
// from waiting for duplicates of what is configured.
func NoAutoconf(log *slog.Logger, name string) Sysctls {
	return set(log, "/proc/sys/net/ipv6/conf/"+name+"/", []sysctl{
		{"accept_ra", "1", "0"}, {"accept_dad", "1", "0"}, {"addr_gen_mode", "0", "1"},
	})
}

// sysctl is a setting to be made where it has its default, or always when only
// is empty.
type sysctl struct{ key, only, value string }

// set returns what it changed, as it was.
func set(log *slog.Logger, dir string, list []sysctl) Sysctls {
	kept := Sysctls{}
	for _, s := range list {
		file := dir + s.key
		old, err := ReadSetting(file)
		if err != nil || s.only != "" && old != s.only || old == s.value {
			continue // no /proc yet, or someone chose a value
		}
		if err := WriteSetting(file, s.value); err != nil {
			log.Debug("write "+s.value, "err", err)
			continue
		}
		kept[file] = old
	}
	return kept
}

// ReadSetting reads a short file of /proc or /sys, in as few system calls as
// can be.
func ReadSetting(file string) (string, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return "", &os.PathError{Op: "read", Path: file, Err: err}
	}
	return strings.TrimSpace(string(b[:n])), nil
}

// WriteSetting writes a short file of /proc or /sys.
func WriteSetting(file, value string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &os.PathError{Op: "write", Path: file, Err: err}
	}
	return nil
}

// Restore makes the settings what they were.
func (k Sysctls) Restore(log *slog.Logger) {
	for file, old := range k {
		if err := WriteSetting(file, old); err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Debug("restore " + err.Error())
		}
	}
}

// HasIPv6 reports whether a link can have IPv6 addresses.
func HasIPv6(log *slog.Logger, name string) bool {
	off, err := ReadSetting("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6")
	if err != nil || off != "0" {
		log.Debug(fmt.Sprintf("no IPv6: disable_ipv6 is %q, %v", off, err))
	}
	return err == nil && off == "0"
}

// SetMTU6 sets the MTU that IPv6 alone has on a link, to no more than the link
// can send, which another goroutine may change meanwhile.
func SetMTU6(log *slog.Logger, sysfs, name string, mtu int) {
	for tries := 1; ; tries++ {
		now := mtu
		if most := linkMTU(sysfs, name); most > 0 {
			now = min(mtu, most)
		}
		log.Debug(fmt.Sprintf("set IPv6's mtu %d", now))
		err := WriteSetting("/proc/sys/net/ipv6/conf/"+name+"/mtu", fmt.Sprint(now))
		if err == nil {
			return
		}
		if again := linkMTU(sysfs, name); again == 0 || min(mtu, again) == now || tries == 8 {
			log.Warn(fmt.Sprintf("mtu %d from the router is refused", now), "err", err)
			return
		}
	}
}

// linkMTU is what a link can send, 0 where sysfs does not say.
func linkMTU(sysfs, name string) int {
	whole, _ := ReadSetting(sysfs + "/class/net/" + name + "/mtu")
	mtu, _ := strconv.Atoi(whole)
	return mtu
}
