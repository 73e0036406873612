package config

import "netstage/stage1/cmdline"

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
	}
}

// checkStream complains of a stream that nothing could verify, and gives the
// driver what keeps it from making devices and looking for partitions that
// nobody wants.
func (c *Config) checkStream(complain func(string, ...any)) {
	if !c.Stream {
		return
	}
	if c.RootHash == nil && len(c.Manifest) == 0 && len(c.Rootfs) > 0 {
		complain("rootfs.stream needs a verity tree and its root hash, which vouches for every block: give roothash=, or rootfs.manifest=")
	}
	c.Modules = append(cmdline.Params{{Key: "nbd.nbds_max", Value: "0", HasValue: true}, {Key: "nbd.max_part", Value: "0", HasValue: true}}, c.Modules...)
}
