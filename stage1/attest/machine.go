// Package attest is what the machine itself knows of its boots: its TPM is told
// what is booted, remembers the highest serials, and signs for a server what it
// was told.
package attest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"netstage/stage1/measure"
	"netstage/stage1/report"
	"netstage/stage1/rundir"
	"netstage/stage1/serials"
	"netstage/stage1/tpm"
)

// The logs of what was measured, for stage 2: of the TCG's form, and one that
// systemd's programs go on with.
const (
	binaryLog  = "/run/log/netstage/binary_measurements"
	systemdLog = "/run/log/systemd/tpm2-measure.log"
)

// How long a TPM may take: for its driver to find it, to answer, and to make a
// key. A boot does without one that takes longer.
const (
	findTime   = time.Second
	answerTime = 10 * time.Second
)

// quoted are the PCRs that a server is told: all but those of IMA, of debugging
// and of late launches.
const quoted = 1<<16 - 1 - 1<<10

// A Machine is this one. The boot's goroutine uses it, and those that send its
// reports.
type Machine struct {
	Log  *slog.Logger
	Root string // where /sys and /run are

	mu      sync.Mutex // of the TPM, which takes one command at a time
	opened  bool
	tpm     *tpm.TPM // nil: there is none, or it does not answer
	banks   []tpm.Algorithm
	events  []measure.Event
	key     *tpm.Key
	memory  memory
	serials serials.Table
}

// Open looks for a TPM. It measures what is known from the beginning, recalls
// serials where there will be any, and makes a key where quotes will be wanted.
func (m *Machine) Open(ctx context.Context, recall, quotes bool, first ...measure.Event) {
	if m.opened {
		return // a retry
	}
	m.opened = true
	m.find(ctx)
	for _, e := range first {
		m.Measure(e)
	}
	if recall {
		m.recall(ctx)
	}
	if !quotes || !m.has() {
		return
	}
	var key tpm.Key
	if err := m.ask(func(t *tpm.TPM) (err error) { key, err = t.NewKey(); return err }); err != nil {
		m.Log.Warn("TPM: it makes no key to sign with, so that reports go without a quote", "err", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.key = &key
}

// find opens the TPM. Firmware that tells of one is given a moment.
func (m *Machine) find(ctx context.Context) {
	_, told := os.Stat(filepath.Join(m.Root, "sys/firmware/acpi/tables/TPM2"))
	for until := time.Now().Add(findTime); ; time.Sleep(20 * time.Millisecond) {
		t, err := tpm.Open()
		if errors.Is(err, fs.ErrNotExist) && told == nil && time.Now().Before(until) && ctx.Err() == nil {
			continue
		}
		switch {
		case err == nil:
			m.use(t)
			var banks []tpm.Algorithm
			if err := m.ask(func(t *tpm.TPM) (err error) { banks, err = t.Banks(); return err }); err != nil {
				m.Log.Warn(err.Error())
				m.use(nil)
				return
			}
			m.banks = banks
		case errors.Is(err, fs.ErrNotExist) && told == nil:
			m.Log.Warn("TPM: the firmware tells of one, and no driver of this initrd found it")
		case !errors.Is(err, fs.ErrNotExist):
			m.Log.Warn(err.Error())
		}
		return
	}
}

// ask lets do talk to the TPM. One that does not answer is left alone from then
// on, and with it the goroutine that waits for it. A command can't be taken
// back: the answer is waited for whoever loses interest in it, or what that one
// leaves to be measured would not be.
func (m *Machine) ask(do func(*tpm.TPM) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tpm == nil {
		return fmt.Errorf("TPM: %w", fs.ErrNotExist)
	}
	done := make(chan error, 1)
	go func(t *tpm.TPM) { done <- do(t) }(m.tpm)
	timeout := time.NewTimer(answerTime)
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-timeout.C:
		m.tpm = nil
		return fmt.Errorf("TPM: no answer within %v", answerTime)
	}
}

// Measure extends the TPM by an event, once: a retry that comes to the same is
// no other boot.
func (m *Machine) Measure(e measure.Event) {
	if !m.has() || slices.Contains(m.events, e) {
		return
	}
	if err := m.ask(func(t *tpm.TPM) error { return t.Extend(measure.PCR, m.banks, []byte(e)) }); err != nil {
		m.Log.Warn(e.Title()+" is not measured", "err", err)
		return
	}
	m.events = append(m.events, e)
	m.Log.Info(fmt.Sprintf("TPM: %s measured into PCR %d", e.Title(), measure.PCR))
}

// use is to talk to another TPM from now on; to none by nil.
func (m *Machine) use(t *tpm.TPM) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tpm, m.key = t, nil
}

// has tells whether there is a TPM that answers.
func (m *Machine) has() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tpm != nil
}

// Quotes tells whether Quote can be had.
func (m *Machine) Quotes() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tpm != nil && m.key != nil
}

// Quote signs what was measured, for a server that gave a nonce.
func (m *Machine) Quote(_ context.Context, nonce []byte) (*report.Quote, error) {
	q := &report.Quote{Nonce: nonce}
	err := m.ask(func(t *tpm.TPM) error {
		if m.key == nil {
			return errors.New("TPM: it has no key to sign with")
		}
		key := *m.key
		q.Key = key.Public
		values, err := t.PCRs(quoted)
		if err != nil {
			return err
		}
		for i := range 24 {
			if v, ok := values[i]; ok {
				q.PCRs = append(q.PCRs, report.PCR{Index: i, SHA256: fmt.Sprintf("%x", v)})
			}
		}
		q.Attest, q.Signature, err = t.Quote(key, nonce, quoted)
		return err
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

// Leave writes the logs for stage 2, and lets go of the TPM.
func (m *Machine) Leave() {
	if !m.has() {
		return
	}
	err := m.ask(func(t *tpm.TPM) error {
		var err error
		if m.key != nil {
			err = t.Forget(*m.key)
		}
		return errors.Join(err, t.Close())
	})
	m.use(nil)
	// They name parameters, which may hold secrets.
	err = errors.Join(err, rundir.ReplacePrivate(filepath.Join(m.Root, binaryLog), measure.Binary(m.banks, m.events)),
		appendTo(filepath.Join(m.Root, systemdLog), measure.JSON(m.banks, m.events)))
	if err != nil {
		m.Log.Warn("TPM", "err", err)
	}
}

func appendTo(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
