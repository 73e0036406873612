package config

import (
	"slices"

	"netstage/stage1/cmdline"
)

// optional are parameters that a boot does without: a script that has nothing
// to put there, as an iPXE whose ${hostname} is not set, says nothing by them.
var optional = []string{
	"rootfs.proxy", "rootfs.cache", "rootfs.cache.disk", "rootfs.floor", "findiso", "boot.persistence",
	"boot.report", "boot.dhcp.hostname", "boot.dhcp.user-class", "boot.network_timeout", "boot.fail_timeout",
}

// said leaves out what has an empty value and says nothing: what is optional,
// and an init= or rootfs= beside another one. What vouches or restricts is not
// among them: it is refused when it is empty.
func said(params cmdline.Params) cmdline.Params {
	return slices.DeleteFunc(slices.Clone(params), func(p cmdline.Param) bool {
		switch {
		case !p.HasValue || p.Value != "":
			return false
		case p.Key == "init" || p.Key == "rootfs":
			return slices.ContainsFunc(params, func(o cmdline.Param) bool { return o.Key == p.Key && o.Value != "" })
		default:
			return slices.Contains(optional, p.Key)
		}
	})
}
