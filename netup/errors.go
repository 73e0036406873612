package netup

import (
	"fmt"
	"slices"
	"strings"

	"netstage/netup/linktable"
)

// Error says why there is no network. Its Class is one of no-nic, no-carrier,
// no-lease, no-route, or the class of the error that Options.Prove returned.
type Error struct {
	class string
	msg   string
	tried []string
	links []linktable.Row
	cause error
}

// Error is one line: the cause and what was tried.
func (e *Error) Error() string { return e.msg }

// Class is stable and short, for scripts and advice.
func (e *Error) Class() string { return e.class }

// Tried is the last proofs that failed, newest last; Links has the rest.
func (e *Error) Tried() []string { return e.tried }

// Links is the table of links when Up gave up.
func (e *Error) Links() []linktable.Row { return e.links }

// Unwrap gives the end of the context or the last failed proof.
func (e *Error) Unwrap() error { return e.cause }

// failure describes the state of the race as an error; cause is why it ends.
func (n *Network) failure(cause error) *Error {
	links := n.Links()
	e := &Error{links: links, cause: cause}
	n.board.mu.Lock()
	proofErr := n.board.proofErr
	for _, p := range n.board.proofs {
		e.tried = append(e.tried, p.String())
	}
	n.board.mu.Unlock()
	var carrier, lease bool
	for _, l := range links {
		carrier = carrier || l.Carrier
		lease = lease || l.Leased()
	}
	secs := fmt.Sprintf("%d s", seconds(n.started))
	switch {
	case len(links) == 0:
		e.class = "no-nic"
		e.msg = "network: no network card found in " + secs + " (no driver, or none fitted)"
		if w := n.plan.wanted(); w != "" {
			e.msg = "network: no network card as " + w + " wants it in " + secs
		}
		e.tried = n.board.ignoredLinks()
	case !carrier:
		e.class = "no-carrier"
		e.msg = "network: no carrier on " + names(links, func(linktable.Row) bool { return true }) + " after " + secs + " (cable, switch port)"
	case !lease:
		e.class = "no-lease"
		e.msg = "network: " + n.plan.nobody() + " on " + names(links, func(l linktable.Row) bool { return l.Carrier }) + " after " + secs
	default:
		e.class = "no-route"
		e.msg = "network: a lease but no path on " + names(links, linktable.Row.Leased) + " after " + secs
		if proofErr != nil {
			e.cause = proofErr
			e.msg += ": " + proofErr.Error()
			if c := classOf(proofErr); c != "" {
				e.class = c
			}
		} else if i := slices.IndexFunc(links, func(l linktable.Row) bool { return l.Leased() && l.Fault != "" }); i >= 0 {
			e.msg += ": " + links[i].Fault
		}
	}
	return e
}

func names(links []linktable.Row, pick func(linktable.Row) bool) string {
	var out []string
	for _, l := range links {
		if pick(l) {
			out = append(out, l.Name)
		}
	}
	return strings.Join(out, ", ")
}
