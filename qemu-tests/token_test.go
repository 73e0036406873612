package qemutests

import (
	"testing"

	"netstage/fetch/faulty"
)

// A token of the initrd goes to the server with every request, again after a
// fault, and is nowhere on the console. What stage 2 finds of the download
// tells the mirror and its fault.
func TestToken(t *testing.T) {
	scenario{
		lan: mirrored(faulty.Behaviour{End: faulty.EndClose, Cut: half}), files: map[string]string{"/etc/netstage/token": "geheim\n"},
		cmdline: "init={init} rootfs={url} rootfs.token=/etc/netstage/token roothash={roothash}",
		shown: []string{"the token goes to {url} unencrypted", "!geheim",
			`download: {"what":"image"`, `"retries":1`, `"faults":1,"answer":"HTTP/1.1 206 Partial Content","class":"short"`},
		check: func(p *played) {
			for _, e := range p.requests() {
				if e.Auth != "Bearer geheim" {
					p.t.Errorf("a request without the token: %+v", e)
				}
			}
		},
	}.run(t)
}
