package attest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"netstage/stage1/tpm/swtpm"
)

// The recipe of docs/attestation.md, as it is written there: a machine's TPM
// proves that the key of its quotes and its endorsement key are in one chip,
// and --tpm-keys is given the key's name.
func TestEnrolment(t *testing.T) {
	if _, err := exec.LookPath("tpm2_makecredential"); err != nil {
		t.Skip("needs tpm2-tools (apt-get install tpm2-tools)")
	}
	state := t.TempDir()
	chip, off := swtpm.Start(t, state)
	key := quoteOf(t, chip, nil)
	off()

	text, err := os.ReadFile("../../../../docs/attestation.md")
	if err != nil {
		t.Fatal(err)
	}
	recipes := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(text, -1)
	if len(recipes) < 3 {
		t.Fatalf("%d recipes, want those of the machine, the operator and the machine", len(recipes))
	}
	// With its control channel, which tpm2-tools want.
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "tpm")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+state, "--server", "type=unixio,path="+socket,
		"--ctrl", "type=unixio,path="+socket+".ctrl", "--flags", "not-need-init,startup-clear")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket+".ctrl"); err == nil {
			conn.Close()
			break
		} else if time.Now().After(until) {
			t.Fatal(err)
		}
	}
	run := func(script []byte) string {
		t.Helper()
		cmd := exec.Command("sh", "-e", "-c", string(script))
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "TPM2TOOLS_TCTI=swtpm:path="+socket)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	run(recipes[0][1])
	run(recipes[1][1])
	run([]byte("tpm2_flushcontext -t")) // as the kernel's resource manager does
	name := run(recipes[2][1])
	secret, err := os.ReadFile(filepath.Join(dir, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := os.ReadFile(filepath.Join(dir, "proof"))
	if err != nil || !bytes.Equal(proof, secret) {
		t.Errorf("the TPM gives back %q, want %q: %v", proof, secret, err)
	}
	q, err := Verify(key)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys("52-54-00-12-34-56 " + strings.TrimSpace(name))
	if err != nil || keys["52-54-00-12-34-56"] != q.Key {
		t.Errorf("%q is enrolled, the quotes' key is %s: %v", name, q.Key, err)
	}
}
