// Package swtpm starts TPMs that are programs, for tests.
package swtpm

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"netstage/stage1/report"
	"netstage/stage1/tpm"
)

// patience is how long swtpm may take to start, or to answer.
const patience = time.Minute

// Start starts swtpm with the state that is in dir; its PCRs are as after
// power-on. The function it returns switches it off.
func Start(t testing.TB, dir string) (machine *tpm.TPM, off func()) {
	t.Helper()
	path, err := exec.LookPath("swtpm")
	if err != nil {
		t.Skip("needs swtpm (apt-get install swtpm)")
	}
	socket := filepath.Join(dir, "socket")
	cmd := exec.Command(path, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+socket, "--flags", "not-need-init,startup-clear")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	var conn net.Conn
	off = func() {
		if conn != nil {
			conn.Close()
		}
		cmd.Process.Kill()
		<-ended
		os.Remove(socket)
	}
	t.Cleanup(off)
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if conn, err = net.Dial("unix", socket); err == nil {
			break
		}
		select {
		case <-ended:
			t.Fatalf("swtpm ended: %s", &said)
		default:
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
	}
	return tpm.New(func(command []byte) ([]byte, error) {
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write(command); err != nil {
			return nil, err
		}
		answer := make([]byte, 4096)
		n, err := conn.Read(answer)
		return answer[:n], err
	}, conn.Close), off
}

// Quote has a TPM sign a nonce and PCRs 0 to 15 without 10, as the agent does.
func Quote(machine *tpm.TPM, nonce []byte) (*report.Quote, error) {
	key, err := machine.NewKey()
	if err != nil {
		return nil, err
	}
	const quoted = 1<<16 - 1 - 1<<10
	values, err := machine.PCRs(quoted)
	if err != nil {
		return nil, err
	}
	q := &report.Quote{Nonce: nonce, Key: key.Public}
	for i := range 16 {
		if v, ok := values[i]; ok {
			q.PCRs = append(q.PCRs, report.PCR{Index: i, SHA256: fmt.Sprintf("%x", v)})
		}
	}
	if q.Attest, q.Signature, err = machine.Quote(key, nonce, quoted); err != nil {
		return nil, err
	}
	return q, machine.Forget(key)
}
