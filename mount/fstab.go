package mount

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Entry is a line of a table of file systems, as in fstab(5).
type Entry struct {
	Device  string
	Target  string // absolute, inside the new root
	Type    string
	Options []string
	Check   bool // by fsck before it is mounted
}

// ParseTable reads a table of file systems. All complaints are in the error,
// each with its line.
func ParseTable(text string) ([]Entry, error) {
	var table []Entry
	var wrong []string
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		e, err := parseEntry(fields)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("line %d: %v", number, err))
			continue
		}
		table = append(table, e)
	}
	if len(wrong) > 0 {
		return table, fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return table, nil
}

func parseEntry(fields []string) (Entry, error) {
	if len(fields) < 3 || len(fields) > 6 {
		return Entry{}, fmt.Errorf("%d fields: want device, mount point, type, options and two numbers", len(fields))
	}
	e := Entry{Device: unescape(fields[0]), Target: unescape(fields[1]), Type: fields[2]}
	if !path.IsAbs(e.Target) || path.Clean(e.Target) != strings.TrimSuffix(e.Target, "/") && e.Target != "/" {
		return Entry{}, fmt.Errorf("mount point %q: want an absolute path", e.Target)
	}
	if e.Target = path.Clean(e.Target); e.HidesImage() {
		return Entry{}, fmt.Errorf("mount point %s: it would be in the place of the image, at /nix/store; mount elsewhere", e.Target)
	}
	if len(fields) > 3 {
		e.Options = strings.Split(unescape(fields[3]), ",")
	}
	if len(fields) > 5 {
		pass, err := strconv.ParseUint(fields[5], 10, 8)
		if err != nil {
			return Entry{}, fmt.Errorf("%s: %q is no order of checks: want a small number", e.Target, fields[5])
		}
		e.Check = pass > 0
	}
	for _, option := range []string{"x-systemd.device-timeout", "x-systemd.mount-timeout"} {
		if text, ok := e.Value(option); ok {
			if _, err := parseSpan(text); err != nil {
				return Entry{}, fmt.Errorf("%s: %s=%s: want a time, such as 90s or 2min", e.Target, option, text)
			}
		}
	}
	return e, nil
}

// unescape undoes getmntent(3)'s octal escapes.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && len(s) >= i+4 {
			if b, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(b))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// Has tells whether an option is given.
func (e Entry) Has(option string) bool { return slices.Contains(e.Options, option) }

// Value is that of an option "key=value".
func (e Entry) Value(key string) (string, bool) {
	for _, o := range e.Options {
		if value, ok := strings.CutPrefix(o, key+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Patience is how long its device may take to appear: what
// x-systemd.device-timeout says, else otherwise.
func (e Entry) Patience(otherwise time.Duration) time.Duration {
	return e.span("x-systemd.device-timeout", otherwise)
}

// MountPatience is how long its mount may take: what x-systemd.mount-timeout
// says, else otherwise.
func (e Entry) MountPatience(otherwise time.Duration) time.Duration {
	return e.span("x-systemd.mount-timeout", otherwise)
}

func (e Entry) span(option string, otherwise time.Duration) time.Duration {
	text, ok := e.Value(option)
	if !ok {
		return otherwise
	}
	d, err := parseSpan(text)
	if err != nil {
		return otherwise
	}
	return d
}

// forEver is as long as a headless machine waits for what is to be waited for
// without end.
const forEver = 24 * time.Hour

// parseSpan reads a time as systemd.time(7) has it, such as "90", "1min 30s"
// or "infinity"; 0 means infinity, too.
func parseSpan(s string) (time.Duration, error) {
	units := map[string]time.Duration{
		"": time.Second, "s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
		"ms": time.Millisecond, "msec": time.Millisecond, "m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
		"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	}
	if s == "infinity" {
		return forEver, nil
	}
	total := time.Duration(0)
	for rest := strings.TrimSpace(s); ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseUint(rest[:digits], 10, 31)
		if err != nil {
			return 0, fmt.Errorf("%q is no time", s)
		}
		rest = strings.TrimLeft(rest[digits:], " ")
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		unit, ok := units[rest[:letters]]
		if !ok {
			return 0, fmt.Errorf("%q is no time", s)
		}
		total += min(time.Duration(n)*unit, forEver)
		if rest = strings.TrimLeft(rest[letters:], " "); rest == "" {
			break
		}
	}
	if total <= 0 || total > forEver {
		return forEver, nil
	}
	return total, nil
}

// A Source is what an entry mounts.
type Source int

// The kinds of sources.
const (
	NoSource Source = iota // the kernel knows: tmpfs, overlay, a server's share
	OnDevice               // a block device, which may have to be waited for
	OnPath                 // a file or folder
)

// Source tells what e mounts below root, as stage-1-init.sh does: an absolute
// device outside /dev is part of the new root, a relative one of a file system
// in a file, such as ../nix-store.squashfs, of the initramfs.
func (e Entry) Source(root string) (Source, string) {
	switch {
	case strings.HasPrefix(e.Device, "//"):
		return NoSource, e.Device
	case strings.HasPrefix(e.Device, "/dev/") && e.bind():
		return OnPath, e.Device
	case strings.HasPrefix(e.Device, "/dev/"), isTag(e.Device):
		return OnDevice, e.Device
	case strings.HasPrefix(e.Device, "/"):
		return OnPath, path.Join(root, e.Device)
	case e.loop():
		return OnPath, path.Join("/", e.Device)
	}
	return NoSource, e.Device
}

func isTag(device string) bool {
	tag, _, ok := strings.Cut(device, "=")
	return ok && slices.Contains([]string{"LABEL", "UUID", "PARTLABEL", "PARTUUID"}, strings.ToUpper(tag))
}

func (e Entry) bind() bool { return e.Has("bind") || e.Has("rbind") }

func (e Entry) loop() bool {
	_, named := e.Value("loop")
	return named || e.Has("loop") || e.readOnly()
}

// readOnly tells whether it can't be written to, whatever the options say.
func (e Entry) readOnly() bool {
	return slices.Contains([]string{"squashfs", "erofs", "iso9660", "udf", "cramfs"}, e.Type)
}

// Network tells whether it is on a server.
func (e Entry) Network() bool {
	return e.Has("_netdev") || slices.Contains([]string{"cifs", "smb3", "nfs", "nfs4", "ceph"}, e.Type)
}

// forUserspace are options that mean nothing to the kernel, or what it does
// anyway. Whether mounts are shared is for stage 2 to say.
var forUserspace = []string{
	"defaults", "nofail", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "loop", "bind", "rbind",
	"suid", "dev", "exec", "atime", "diratime", "relatime", "nostrictatime",
	"shared", "rshared", "private", "rprivate", "slave", "rslave", "unbindable", "runbindable",
}

// kernelOptions are those to mount with: without those for systemd and
// mount(8), and with the directories of an overlay where at has them.
func (e Entry) kernelOptions(at func(name string) string) string {
	var options []string
	if e.readOnly() && !e.Has("ro") {
		options = append(options, "ro")
	}
	for _, o := range e.Options {
		key, value, _ := strings.Cut(o, "=")
		switch {
		case slices.Contains(forUserspace, o), strings.HasPrefix(o, "x-"), strings.HasPrefix(o, "X-"), key == "comment", key == "loop", o == "":
		case e.readOnly() && o == "rw":
		case e.Type == "overlay" && slices.Contains([]string{"lowerdir", "upperdir", "workdir"}, key):
			dirs := strings.Split(value, ":")
			for i, dir := range dirs {
				if path.IsAbs(dir) {
					dirs[i] = at(dir)
				}
			}
			options = append(options, key+"="+strings.Join(dirs, ":"))
		default:
			options = append(options, o)
		}
	}
	return strings.Join(options, ",")
}
