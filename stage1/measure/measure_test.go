package measure

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"netstage/stage1/tpm"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// Each thing that decides what boots makes another event; what tells machines
// apart does not.
func TestWhatIsMeasured(t *testing.T) {
	initrd := fstest.MapFS{Folder + "/policy.json": file("{}"), Folder + "/trusted.d/ops.pub": file("k"), "etc/hostname": file("x")}
	policy := func() Event {
		e, err := Policy(initrd)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	before := policy()
	initrd["etc/hostname"] = file("y")
	if policy() != before {
		t.Error("a file that decides nothing counts")
	}
	initrd[Folder+"/trusted.d/ops.pub"] = file("l")
	if policy() == before {
		t.Error("another key does not count")
	}
	if e, err := Policy(fstest.MapFS{}); err != nil || e != "netstage-policy\n" {
		t.Errorf("an initrd without a policy: %q, %v", e, err)
	}

	for line, same := range map[string]bool{
		"quiet a=\"b c\"\n": true, "BOOTIF=01-52-54-00-00-00-01 quiet a=\"b c\" SYSUUID=x": true,
		"quiet a=b c": false, "quiet": false, "a=\"b c\" quiet": false, "quiet a=\"b c\" systemd.unit=x": false,
	} {
		if got := Cmdline(line) == Cmdline("quiet a=\"b c\""); got != same {
			t.Errorf("%q: the same %v, want %v", line, got, same)
		}
	}

	all := map[Event]bool{}
	for _, i := range []Image{
		{}, {Init: "/init"}, {Init: "/init", SHA256: []byte{1}}, {Init: "/init", SHA256: []byte{1}, RootHash: []byte{2}},
		{Init: "/init", RootHash: []byte{2}, Manifest: []byte{3}}, {Init: "/other", RootHash: []byte{2}, Manifest: []byte{3}},
	} {
		all[i.Event()] = true
	}
	if len(all) != 6 {
		t.Errorf("only %d different events", len(all))
	}
}

// tpm2_eventlog reads the log, and computes what Extended does.
func TestBinary(t *testing.T) {
	tool, err := exec.LookPath("tpm2_eventlog")
	if err != nil {
		t.Skip("needs tpm2-tools (apt-get install tpm2-tools)")
	}
	events := []Event{"netstage-policy\n", Cmdline("quiet"), Image{Init: "/init"}.Event()}
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, Binary([]tpm.Algorithm{tpm.SHA1, tpm.SHA256}, events), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, log).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pcr := Extended([32]byte{}, events...)
	for _, want := range []string{"EV_IPL", "netstage-image", "AlgorithmId: sha1", "8  : 0x" + hexOf(pcr[:])} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// The fields that systemd-pcrlock looks for (systemd, src/pcrlock/pcrlock.c).
func TestJSON(t *testing.T) {
	records := strings.Split(string(JSON([]tpm.Algorithm{tpm.SHA256}, []Event{"a\n", "b \"c\""})), "\x1e")
	if len(records) != 3 || records[0] != "" {
		t.Fatalf("%q", records)
	}
	var r struct {
		PCR         int                 `json:"pcr"`
		Digests     []map[string]string `json:"digests"`
		ContentType string              `json:"content_type"`
		Content     map[string]string   `json:"content"`
	}
	if err := json.Unmarshal([]byte(records[2]), &r); err != nil {
		t.Fatal(err)
	}
	if r.PCR != 8 || r.Digests[0]["hashAlg"] != "sha256" || r.Digests[0]["digest"] != hexOf(tpm.SHA256.Sum([]byte("b \"c\""))) ||
		r.ContentType != "systemd" || r.Content["string"] != "b \"c\"" {
		t.Errorf("%+v", r)
	}
}
