package qemutests

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"netstage/qemu-tests/system"
)

// runPCRLock has systemd measure something of its own, as it does at every
// stage of a boot, and read what firmware, stub, agent and it have logged.
const runPCRLock = `
mount -t securityfs securityfs /sys/kernel/security
export SYSTEMD_FORCE_MEASURE=1
of_systemd() {
	program=$1; shift
	` + system.Toplevel + `/bin/ld.so --library-path ` + system.Toplevel + `/bin ` + system.Toplevel + `/bin/$program "$@"
}
of_systemd systemd-pcrextend sysinit
echo "pcrlock $(of_systemd systemd-pcrlock log --json=short --no-pager | gzip | base64 -w0)"
`

// pcrlock are the programs of setup/pcrlock.sh and their libraries, for an
// image.
func pcrlock(t *testing.T) system.Files {
	t.Helper()
	root := setupDir(t, "pcrlock")
	libraries := root + "/usr/lib/x86_64-linux-gnu"
	path := libraries + ":" + libraries + "/systemd"
	from := map[string]string{"ld.so": libraries + "/ld-linux-x86-64.so.2"}
	add := func(file string) {
		from[filepath.Base(file)] = file
		out, err := exec.Command(from["ld.so"], "--library-path", path, "--list", file).Output()
		if err != nil {
			t.Fatalf("what %s needs: %v\n%s", file, err, out)
		}
		for _, found := range regexp.MustCompile(`(\S+) => (/\S+) \(0x`).FindAllStringSubmatch(string(out), -1) {
			from[found[1]] = found[2]
		}
	}
	for _, program := range []string{"systemd-pcrlock", "systemd-pcrextend"} {
		add(root + "/usr/lib/systemd/" + program)
	}
	for _, loaded := range []string{"esys", "rc", "mu", "tcti-device"} { // by dlopen
		add(libraries + "/libtss2-" + loaded + ".so.0")
	}
	files := system.Files{}
	for name, file := range from {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		files["bin/"+name] = string(text)
	}
	return files
}

// checkPCRLock asserts that systemd-pcrlock found the agent's records,
// systemd's and the firmware's, and that the PCRs are what the logs say.
func checkPCRLock(t *testing.T, console string) {
	t.Helper()
	found := regexp.MustCompile(`pcrlock ([A-Za-z0-9+/=]+)`).FindStringSubmatch(console)
	if found == nil {
		t.Fatal("systemd-pcrlock says nothing")
	}
	packed, err := base64.StdEncoding.DecodeString(found[1])
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Log []struct {
			PCR         int    `json:"pcr"`
			Event       string `json:"event"`
			Description string `json:"description"`
		} `json:"log"`
		PCRs []struct {
			PCR     int  `json:"pcr"`
			Count   int  `json:"count"`
			Matches bool `json:"hashMatchesEventLog"`
		} `json:"pcrs"`
	}
	if err := json.NewDecoder(r).Decode(&said); err != nil {
		t.Fatal(err)
	}
	texts := map[int][]string{}
	for _, e := range said.Log {
		texts[e.PCR] = append(texts[e.PCR], e.Description)
	}
	has := func(pcr int, text string) bool {
		return slices.ContainsFunc(texts[pcr], func(s string) bool { return len(s) >= len(text) && s[:len(text)] == text })
	}
	for _, title := range []string{"netstage-policy", "netstage-cmdline", "netstage-image"} {
		if !has(8, title) {
			t.Errorf("systemd-pcrlock has no %s in PCR 8: %q", title, texts[8])
		}
	}
	if len(texts[0]) == 0 || !has(11, "String: .linux") || !has(11, "sysinit") {
		t.Errorf("systemd-pcrlock does not see what the firmware, the stub and systemd measured: PCR 0 %q, PCR 11 %q", texts[0], texts[11])
	}
	for _, p := range said.PCRs {
		if (p.PCR == 8 || p.PCR == 11) && (!p.Matches || p.Count < 3) {
			t.Errorf("systemd-pcrlock: PCR %d is not what its %d records say", p.PCR, p.Count)
		}
	}
}
