package reports

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"netstage/cmd/netstage/internal/attest"
	"netstage/stage1/report"
)

// Verdicts on what a machine's TPM signed, as far as they are no complaint.
const (
	Attested   = "attested" // as expected, by the TPM of before
	Quoted     = "quoted"   // likewise, and nobody said what to expect
	unattested = "not attested"
)

// A Verdict is on a report's quote.
type Verdict struct {
	Text string // "": there is no quote, and none was expected
	Key  string // of the machine's TPM, where it is the first; else ""
}

// judge says what a report's quote is worth.
func (h Handler) judge(r report.Report, id string, now time.Time) Verdict {
	doubt := func(format string, args ...any) Verdict {
		return Verdict{Text: unattested + ": " + fmt.Sprintf(format, args...)}
	}
	switch {
	case r.Quote == nil && len(h.Expected) > 0 && (r.State == report.Good || r.State == report.Check):
		return doubt("the report has no quote of a TPM")
	case r.Quote == nil:
		return Verdict{}
	}
	q, err := attest.Verify(*r.Quote)
	if err != nil {
		return doubt("%v", err)
	}
	if !h.Nonces.Take(q.Nonce, now) {
		return doubt("the nonce is not of this server, or is used up")
	}
	before, err := h.Store.key(id)
	if err != nil {
		return doubt("%v", err)
	}
	if before != "" && before != q.Key {
		return doubt("signed by another TPM than before")
	}
	v := Verdict{Text: Attested}
	if before == "" {
		v.Key = q.Key
	}
	if wrong := attest.Compare(q, h.Expected); wrong != "" {
		v.Text = unattested + ": " + wrong
	} else if len(h.Expected) == 0 {
		v.Text = Quoted
	}
	return v
}

// keyFile is where the key of a machine's TPM is kept, in its folder: the first
// is believed.
const keyFile = "tpm-key"

// key is the one that a machine had before; "" for none.
func (s *Store) key(id string) (string, error) {
	text, err := s.root.ReadFile(path.Join(Folder, id, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}
