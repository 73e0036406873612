package config

import (
	"net"
	"net/url"
	"strings"

	"netstage/fetch/ref"
	"netstage/stage1/cmdline"
)

// readReport reads a parameter that is about who hears of the boot elsewhere.
func (c *Config) readReport(p cmdline.Param, complain func(string, ...any)) {
	switch p.Key {
	case "boot.report":
		u, err := url.Parse(p.Value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			complain("boot.report=%s: want an http:// or https:// URL", ref.Redacted(p.Value))
			break
		}
		c.ReportTo = p.Value
	case "boot.log":
		u, err := url.Parse(p.Value)
		if err != nil || u.Scheme != "udp" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			complain("boot.log=%s: want udp://HOST or udp://HOST:PORT", ref.Redacted(p.Value))
			break
		}
		port := u.Port()
		if port == "" {
			port = "514" // RFC 5426, 3.3
		}
		c.LogTo = net.JoinHostPort(u.Hostname(), port)
	}
}
