package config

import (
	"bytes"
	"errors"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/mount"
	"netstage/nix"
	"netstage/stage1/cmdline"
)

// readImage reads a parameter that is about the image.
//
// rootfs.roothash= is another name for roothash=, which systemd's generators in
// stage 2 take for theirs: they would wait for partitions that are not there.
func (c *Config) readImage(p cmdline.Param, complain func(string, ...any)) {
	switch p.Key {
	case "rootfs":
		c.Rootfs = appendRef(c.Rootfs, p, complain)
	case "rootfs.verity":
		c.Verity = appendRef(c.Verity, p, complain)
	case "rootfs.verity.mount":
		c.readVerityMount(p, complain)
	case "rootfs.manifest":
		c.Manifest = appendRef(c.Manifest, p, complain)
	case "rootfs.manifest.name":
		if p.Value == "" || c.Name != "" && c.Name != p.Value {
			complain("rootfs.manifest.name=%s: want one name, and the same as the initrd's", p.Value)
			return
		}
		c.Name = p.Value
	case "rootfs.manifest.keys":
		c.KeyLists = appendRef(c.KeyLists, p, complain)
	case "rootfs.manifest.newer":
		at, err := parseDay(p.Value)
		if err != nil {
			complain("rootfs.manifest.newer=%s: want a day or a time, such as 2026-11-23 or 2026-11-23T08:00:00Z", p.Value)
		}
		if at.After(c.Newer) { // the latest holds: none loosens another
			c.Newer = at
		}
	case "rootfs.sha256":
		c.SHA256 = pin(c.SHA256, p, complain)
	case "roothash", "rootfs.roothash":
		c.RootHash = pin(c.RootHash, p, complain)
	case "rootfs.base":
		base, err := ref.Parse(p.Value)
		if base.Kind != ref.URL && (p.Value == "" || strings.HasSuffix(p.Value, "/..")) {
			return // of an iPXE that does not know where it is, whose boot file has no URL
		}
		if err != nil || base.Kind != ref.URL {
			complain("rootfs.base=%s: want an http://, https:// or tftp:// URL", ref.Redacted(p.Value))
		}
		c.Base = base
	case "rootfs.proxy":
		if _, err := ParseProxy(p.Value); err != nil {
			complain("rootfs.proxy=%s: want the URL of a proxy, such as http://10.0.0.1:3128", ref.Redacted(p.Value))
		}
		c.Proxy = p.Value
	case "rootfs.ca":
		if c.CA = p.Value; !path.IsAbs(p.Value) {
			complain("rootfs.ca=%s: want the absolute path of a file in the initrd", p.Value)
		}
	case "rootfs.token":
		if c.Token = p.Value; path.Clean(p.Value) != p.Value || !strings.HasPrefix(p.Value, tokenDir) {
			complain("rootfs.token=%s: want the path of a file below %s in the initrd", p.Value, tokenDir)
		}
	case "rootfs.cache":
		l, err := ref.ParseURL(p.Value)
		if err != nil || l.Scheme() == "tftp" {
			complain("rootfs.cache=%s: want the http:// or https:// URL of a cache", ref.Redacted(p.Value))
		}
		c.Cache = l
	case "rootfs.cache.disk":
		l, err := ref.Parse(p.Value)
		if err == nil && l.Kind == ref.Device {
			_, err = DiskOf(l)
		}
		if err != nil || l.Kind != ref.Device || l.Path != "" {
			complain("rootfs.cache.disk=%s: want a disk, such as LABEL=cache or /dev/sda1", p.Value)
		}
		c.CacheDisk = l
	case "rootfs.floor":
		floor, err := parseFloor(p.Value)
		if err != nil {
			complain("rootfs.floor=%s: want BYTES/SECONDS, such as 655360/10", p.Value)
		}
		c.LowSpeed = floor
	}
}

// readVerityMount reads what dm-verity is to do. Of two the stricter holds:
// none loosens another.
func (c *Config) readVerityMount(p cmdline.Param, complain func(string, ...any)) {
	c.MountVerity = true
	switch p.Value {
	case "", "1":
	case "restart":
		if c.OnCorruption == "" {
			c.OnCorruption = mount.RestartOnCorruption
		}
	case "panic":
		c.OnCorruption = mount.PanicOnCorruption
	default:
		complain("rootfs.verity.mount=%s: want restart or panic for what follows a wrong block, or nothing at all for an I/O error", p.Value)
	}
}

// checkImage complains of parameters about the image that make no sense
// together.
func (c *Config) checkImage(complain func(string, ...any)) {
	if c.MountVerity && c.RootHash == nil && len(c.Manifest) == 0 && !c.fromRegistry() {
		complain("rootfs.verity.mount needs a verity tree and its root hash: give roothash=, or rootfs.manifest=")
	}
	if (c.Name != "" || c.KeyLists != nil) && len(c.Manifest) == 0 && !c.fromRegistry() {
		complain("rootfs.manifest.name= and rootfs.manifest.keys= are about a manifest, and none is named: give rootfs.manifest=")
	}
}

func appendRef(refs []ref.Location, p cmdline.Param, complain func(string, ...any)) []ref.Location {
	l, err := ref.Parse(p.Value)
	switch {
	case err != nil:
		complain("%s=: %w", p.Key, err)
	case l.Kind == ref.OCI && p.Key != "rootfs":
		complain("%s=%s: what vouches for an image in a registry is in its artifact: name that by rootfs= alone", p.Key, l)
	case l.Kind == ref.Device:
		if _, err := DiskOf(l); err != nil {
			complain("%s=: %w", p.Key, err)
		}
	}
	return append(refs, l)
}

// pin reads a digest. A second one must not loosen the first.
func pin(before []byte, p cmdline.Param, complain func(string, ...any)) []byte {
	digest, err := nix.ParseSHA256(p.Value)
	if err != nil {
		complain("%s=: %w", p.Key, err)
	} else if before != nil && !bytes.Equal(before, digest) {
		complain("%s= is given twice with different values", p.Key)
	}
	return digest
}

// ParseProxy reads the URL of an HTTP proxy. Its error does not quote it: it
// may hold a password.
func ParseProxy(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("not the URL of a proxy")
	}
	return u, nil
}

// parseFloor reads BYTES/SECONDS.
func parseFloor(s string) (pace.LowSpeedLimit, error) {
	amount, seconds, _ := strings.Cut(s, "/")
	n, err := strconv.ParseInt(amount, 10, 64)
	d, derr := strconv.ParseUint(seconds, 10, 31)
	if err = errors.Join(err, derr); err == nil && (n <= 0 || d == 0) {
		err = errors.New("not above zero")
	}
	return pace.LowSpeedLimit{Bytes: n, Window: time.Duration(d) * time.Second}, err
}

// parseDay reads a day, which means its start in UTC, or a time (RFC 3339).
func parseDay(s string) (time.Time, error) {
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, s)
}
