package config

import (
	"fmt"
	"strconv"
	"strings"

	"netstage/stage1/cmdline"
)

// leastKeep is the least that rootfs.stream.keep= may be: what readers wait for
// at once must fit.
const leastKeep = 16 << 20

// readStream reads a parameter that is about using the image while it comes.
func (c *Config) readStream(p cmdline.Param, complain func(string, ...any)) {
	switch p.Key {
	case "rootfs.stream":
		c.Stream = true
		switch p.Value {
		case "", "1":
		case "demand":
			c.OnDemand = true
		default:
			complain("rootfs.stream=%s: want demand to fetch what is read and nothing else, or nothing at all", p.Value)
		}
	case "rootfs.stream.timeout":
		readSeconds(&c.StreamTimeout, p, complain)
	case "rootfs.stream.keep":
		keep, err := parseSize(p.Value)
		if err != nil || keep < leastKeep {
			complain("rootfs.stream.keep=%s: want at least %dM, in bytes or with k, M or G for powers of 1024", p.Value, leastKeep>>20)
			return
		}
		c.StreamKeep = keep
	}
}

// parseSize reads a number of bytes, with k, M or G for powers of 1024.
func parseSize(text string) (int64, error) {
	shift := 0
	for i, unit := range []string{"k", "M", "G"} {
		if digits, ok := strings.CutSuffix(text, unit); ok {
			text, shift = digits, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && (n < 0 || n > (1<<62)>>shift) {
		err = fmt.Errorf("%s is out of range", text)
	}
	return n << shift, err
}

// checkStream complains of a stream that nothing could verify, and gives the
// driver what keeps it from making devices and looking for partitions that
// nobody wants.
func (c *Config) checkStream(complain func(string, ...any)) {
	if c.StreamKeep > 0 && !c.OnDemand {
		complain("rootfs.stream.keep= bounds what rootfs.stream=demand keeps; everything else keeps the whole image")
	}
	if !c.Stream {
		return
	}
	if c.RootHash == nil && len(c.Manifest) == 0 && len(c.Rootfs) > 0 && !c.fromRegistry() {
		complain("rootfs.stream needs a verity tree and its root hash, which vouches for every block: give roothash=, or rootfs.manifest=")
	}
	c.Modules = append(cmdline.Params{{Key: "nbd.nbds_max", Value: "0", HasValue: true}, {Key: "nbd.max_part", Value: "0", HasValue: true}}, c.Modules...)
}
