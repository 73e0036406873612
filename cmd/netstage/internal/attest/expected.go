package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"netstage/stage1/report"
)

// Expected are values that PCRs should have after a boot, as "netstage predict"
// writes them.
type Expected struct {
	Version int          `json:"version"`
	PCRs    []report.PCR `json:"pcrs"`
	// Earlier are those that have another value until the image is known: a
	// boot that fails before has these.
	Earlier []report.PCR `json:"earlier,omitempty"`
}

// ParseExpected reads what "netstage predict" wrote.
func ParseExpected(text []byte) (Expected, error) {
	var e Expected
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("expected PCRs: %w", err)
	}
	if e.Version != 1 || len(e.PCRs) == 0 {
		return e, errors.New("expected PCRs: not what netstage predict writes")
	}
	for _, p := range slices.Concat(e.PCRs, e.Earlier) {
		if len(p.SHA256) != 64 || p.Index < 0 || p.Index > 23 {
			return e, fmt.Errorf("expected PCRs: PCR %d: %q is no SHA-256", p.Index, p.SHA256)
		}
	}
	return e, nil
}

// Compare tells how a quote differs from the nearest of what is expected; ""
// for not at all. With nothing expected every quote is as good. A boot that is
// not through may have what it has before the image is known.
func Compare(q Quote, all []Expected, through bool) string {
	best, first := "", true
	for _, e := range all {
		var wrong []string
		for _, p := range e.PCRs {
			got := q.PCRs[p.Index]
			is := func(other report.PCR) bool { return other.Index == p.Index && got == strings.ToLower(other.SHA256) }
			if !is(p) && (through || !slices.ContainsFunc(e.Earlier, is)) {
				wrong = append(wrong, fmt.Sprintf("PCR %d is %.12s…, expected %.12s…", p.Index, got, p.SHA256))
			}
		}
		if text := strings.Join(wrong, ", "); first || len(text) < len(best) {
			best, first = text, false
		}
	}
	return best
}

// Encode writes what ParseExpected reads.
func Encode(pcrs, earlier map[int]string) ([]byte, error) {
	list := func(pcrs map[int]string) (all []report.PCR) {
		for _, i := range slices.Sorted(maps.Keys(pcrs)) {
			all = append(all, report.PCR{Index: i, SHA256: pcrs[i]})
		}
		return all
	}
	e := Expected{Version: 1, PCRs: list(pcrs), Earlier: list(earlier)}
	text, err := json.MarshalIndent(e, "", "  ")
	return append(text, '\n'), err
}
