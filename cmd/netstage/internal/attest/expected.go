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
	for _, p := range e.PCRs {
		if len(p.SHA256) != 64 || p.Index < 0 || p.Index > 23 {
			return e, fmt.Errorf("expected PCRs: PCR %d: %q is no SHA-256", p.Index, p.SHA256)
		}
	}
	return e, nil
}

// Compare tells how a quote differs from the nearest of what is expected; "" for
// not at all. With nothing expected every quote is as good.
func Compare(q Quote, all []Expected) string {
	best, first := "", true
	for _, e := range all {
		var wrong []string
		for _, p := range e.PCRs {
			if got := q.PCRs[p.Index]; got != strings.ToLower(p.SHA256) {
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
func Encode(pcrs map[int]string) ([]byte, error) {
	e := Expected{Version: 1}
	for _, i := range slices.Sorted(maps.Keys(pcrs)) {
		e.PCRs = append(e.PCRs, report.PCR{Index: i, SHA256: pcrs[i]})
	}
	text, err := json.MarshalIndent(e, "", "  ")
	return append(text, '\n'), err
}
