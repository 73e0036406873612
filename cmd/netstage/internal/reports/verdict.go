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
	Attested   = "attested" // as expected, by the machine's TPM
	Quoted     = "quoted"   // likewise, and nobody said what to expect
	unattested = "not attested"
	// first follows a verdict on the first quote of a machine of which nobody
	// said which TPM it has: it may be anybody's.
	first = ", by a TPM not known before"
	// early follows the verdict on a boot that is not through, and has measured
	// no image: nothing is known of that.
	early = ", before its image"
)

// A Verdict is on a report's quote.
type Verdict struct {
	Text string // "": there is no quote, and none was expected
	Key  string // of the machine's TPM, where it is the first; else ""
}

// appraise says what a report's quote is worth (RFC 9334, section 2).
func (h Handler) appraise(r report.Report, id string, now time.Time) Verdict {
	doubt := func(format string, args ...any) Verdict {
		return Verdict{Text: unattested + ": " + fmt.Sprintf(format, args...)}
	}
	switch {
	case r.Quote == nil && r.State == report.Complete: // of the program that streamed, long after
		return Verdict{}
	case r.Quote == nil && len(h.Expected)+len(h.Keys) > 0:
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
	v := Verdict{Text: Attested}
	switch enrolled := h.Keys[id]; {
	case h.Keys != nil && enrolled == "":
		return doubt("signed by a TPM that is not enrolled, key %s", q.Key)
	case h.Keys != nil && enrolled != q.Key:
		return doubt("signed by another TPM than the one that is enrolled, key %s", q.Key)
	case h.Keys == nil && before != "" && before != q.Key:
		return doubt("signed by another TPM than before, key %s", q.Key)
	case len(h.Expected) == 0:
		v.Text = Quoted
	}
	through := r.State == report.Good || r.State == report.Check
	if wrong := attest.Compare(q, h.Expected, through); wrong != "" {
		v.Text = unattested + ": " + wrong
	} else if attest.Compare(q, h.Expected, true) != "" {
		v.Text += early
	}
	if before == "" && h.Keys == nil {
		v.Key, v.Text = q.Key, v.Text+first
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
