package bench

import "fmt"

// A target is a figure to stay below.
type target struct {
	what       string
	want, have float64
	unit       string
	also       string // the same ratio without the transfer, which has no target
}

// targets are what the agent is to reach against its stand-ins. The boots are
// compared in total; those without the transfer are told beside.
func (r Report) targets() []target {
	var all []target
	ratio := func(ours, theirs string, want float64) {
		a, b := r.result(ours), r.result(theirs)
		all = append(all, target{
			what: fmt.Sprintf("(%s) / (%s)", ours, theirs), want: want, have: a.Boot().Seconds() / b.Boot().Seconds(),
			also: fmt.Sprintf("%.2f", a.WithoutTransfer().Seconds()/b.WithoutTransfer().Seconds()),
		})
	}
	if r.has(agentBefore) {
		ratio(agent, agentBefore, 1.02)
		ratio(agentSHA256, agentBefore256, 1.02)
		return all
	}
	for _, ours := range []string{agent, agentAll} {
		ratio(ours, scriptUdev, 0.6)
		ratio(ours, script, 1.1)
	}
	for _, ours := range []string{agentSHA256, agentAll256} {
		ratio(ours, scriptSHA256, 1)
	}
	for _, ours := range []string{agent, agentAll} {
		more := r.result(ours).Used() - r.result(script).Used()
		all = append(all, target{what: fmt.Sprintf("memory of (%s) beyond (%s)", ours, script), want: 16, have: float64(more) / (1 << 20), unit: " MiB"})
	}
	const megabyte = 1e6
	return append(all,
		target{what: "the agent", want: 12, have: float64(r.Agent) / megabyte, unit: " MB"},
		target{what: "the agent, compressed", want: 3.9, have: float64(r.AgentCompressed) / megabyte, unit: " MB"},
		target{what: "the initrd with every NIC", want: 6, have: float64(r.result(agentAll).Size) / megabyte, unit: " MB"},
	)
}

func (t target) cells() []string {
	verdict := "met"
	if t.have > t.want {
		verdict = fmt.Sprintf("missed by %.2f%s", t.have-t.want, t.unit)
	}
	return []string{t.what, fmt.Sprintf("<= %.2f%s", t.want, t.unit), fmt.Sprintf("%.2f%s", t.have, t.unit), verdict, t.also}
}
