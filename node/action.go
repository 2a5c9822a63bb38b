package node

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Op is what an Action does.
type Op uint8

// The operations. Those before Tell act on the host, the others on the API and the agent itself.
const (
	SetUpVolumes  Op = iota // make the pod's volumes
	RunSandbox              // Attempt
	StopSandbox             // ID
	RemoveSandbox           // ID
	Start                   // Container, Attempt
	Kill                    // Container, ID, Grace; Message says why
	Remove                  // ID of a dead instance
	RemoveVolumes           // of a pod that has ended
	RemoveFiles             // everything of the pod's directory
	Tell                    // an event: Type, Reason, Message, about Container or the pod
	Report                  // Status
	Finish                  // delete the pod from the API
	Forget                  // drop the entry: nothing is left
	Wake                    // step again at At
)

var opNames = [...]string{"SetUpVolumes", "RunSandbox", "StopSandbox", "RemoveSandbox", "Start", "Kill", "Remove",
	"RemoveVolumes", "RemoveFiles", "Tell", "Report", "Finish", "Forget", "Wake"}

func (o Op) String() string { return opNames[o] }

// Action is one thing to do for a pod. Which fields count depends on Op.
type Action struct {
	Op        Op
	Container string
	ID        string
	Attempt   uint32
	Grace     time.Duration
	Type      string
	Reason    string
	Message   string
	Status    *corev1.PodStatus
	At        time.Time
}

// String is the action in one line, for transcripts and logs.
func (a Action) String() string {
	var b strings.Builder
	b.WriteString(a.Op.String())
	add := func(format string, v any) { fmt.Fprintf(&b, " "+format, v) }
	if a.Container != "" {
		add("%s", a.Container)
	}
	if a.ID != "" {
		add("%s", a.ID)
	}
	switch a.Op {
	case RunSandbox, Start:
		add("attempt=%d", a.Attempt)
	case Kill:
		add("grace=%s", a.Grace)
	case Tell:
		add("%s", a.Type)
		add("%s", a.Reason)
	case Wake:
		add("%s", a.At.UTC().Format(time.TimeOnly))
	case Report:
		add("%s", brief(a.Status))
	}
	if a.Message != "" {
		add("%q", a.Message)
	}
	return b.String()
}

// brief is a status in one line: phase, the conditions that hold, and the containers.
func brief(s *corev1.PodStatus) string {
	var b strings.Builder
	b.WriteString(string(s.Phase))
	if s.Reason != "" {
		fmt.Fprintf(&b, "(%s)", s.Reason)
	}
	for _, c := range s.Conditions {
		if c.Status == corev1.ConditionTrue {
			fmt.Fprintf(&b, " +%s", c.Type)
		}
	}
	for _, cs := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for _, c := range cs {
			fmt.Fprintf(&b, " %s:%s", c.Name, briefState(&c.State))
			if c.Ready {
				b.WriteString(",ready")
			}
			if c.RestartCount > 0 {
				fmt.Fprintf(&b, ",%d", c.RestartCount)
			}
		}
	}
	return b.String()
}

func briefState(s *corev1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("terminated(%s %d)", s.Terminated.Reason, s.Terminated.ExitCode)
	case s.Waiting != nil:
		return s.Waiting.Reason
	}
	return "?"
}
