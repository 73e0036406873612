package config

import (
	"strings"
	"testing"

	"netstage/stage1/cmdline"
)

func TestParseReportTo(t *testing.T) {
	for value, want := range map[string]string{
		"http://srv/reports": "", "https://ops:pw@[::1]:8443/x?y=z": "",
		"": "want an http", "srv/reports": "want an http", "http:///x": "want an http", "http://a b/": "want an http",
		"ftp://ops:pw@srv/x": "boot.report=ftp://srv/x: want an http",
	} {
		c, err := parseParams(cmdline.Params{{Key: "boot.report", Value: value, HasValue: true}})
		if want == "" && (err != nil || c.ReportTo != value) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %q, %v", value, c.ReportTo, err)
		}
	}
}

func TestParseLogTo(t *testing.T) {
	for value, want := range map[string]string{
		"udp://srv": "srv:514", "udp://10.0.0.1:5514/": "10.0.0.1:5514", "udp://[fe80::1]": "[fe80::1]:514",
		"tcp://srv": "", "srv:514": "", "udp://": "", "udp://a:pw@srv": "", "udp://srv/x": "", "udp://srv?x": "", "udp://srv:x": "",
	} {
		c, err := parseParams(cmdline.Params{{Key: "boot.log", Value: value, HasValue: true}})
		if c.LogTo != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %q, %v", value, c.LogTo, err)
		}
	}
}
