package stage1

import (
	"net/url"

	"netstage/fetch"
	"netstage/stage1/cmdline"
)

// readReport reads a parameter that is about who hears of the boot elsewhere.
func (c *Config) readReport(p cmdline.Param, complain func(string, ...any)) {
	switch p.Key {
	case "boot.report":
		u, err := url.Parse(p.Value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			complain("boot.report=%s: want an http:// or https:// URL", fetch.Redacted(p.Value))
			break
		}
		c.ReportTo = p.Value
	}
}
