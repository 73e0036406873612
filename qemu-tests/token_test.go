package qemutests

import (
	"path/filepath"
	"testing"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// A token of the initrd goes to the server with every request, again after a
// fault, and is nowhere on the console. What stage 2 finds of the download
// tells the mirror and its fault.
func TestToken(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	token := filepath.Join(v.dir, "token")
	writeFile(t, token, "geheim\n")
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	s := v.serve(t, lan, nil, faulty.Behaviour{End: faulty.EndClose, Cut: half})
	m := boot(t, nsmachine.Config{LAN: lan, Files: map[string]string{"/etc/netstage/token": token},
		Cmdline: "init=" + system.Init + " rootfs=" + s.URL("image.squashfs") + " rootfs.token=/etc/netstage/token roothash=" + v.root})
	expectEnd(t, m, nsmachine.PoweredOff, "the token goes to http://"+s.Addr()+"/image.squashfs unencrypted", "stage 2 done", "!geheim",
		`download: {"what":"image"`, `"retries":1`, `"faults":1,"answer":"HTTP/1.1 206 Partial Content","class":"short"`)
	for _, e := range s.Log() {
		if e.Auth != "Bearer geheim" {
			t.Errorf("a request without the token: %+v", e)
		}
	}
}
