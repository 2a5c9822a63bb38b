package core

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"pintle.dev/object"
	"pintle.dev/resource"
)

var podColumns = []metav1.TableColumnDefinition{
	resource.NameColumn,
	{Name: "Ready", Type: "string", Description: "The aggregate readiness state of this pod for accepting traffic."},
	{Name: "Status", Type: "string", Description: "The aggregate status of the containers in this pod."},
	{Name: "Restarts", Type: "string", Description: "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."},
	resource.AgeColumn,
	{Name: "IP", Type: "string", Priority: 1, Description: corev1.PodStatus{}.SwaggerDoc()["podIP"]},
	{Name: "Node", Type: "string", Priority: 1, Description: corev1.PodSpec{}.SwaggerDoc()["nodeName"]},
	{Name: "Nominated Node", Type: "string", Priority: 1, Description: corev1.PodStatus{}.SwaggerDoc()["nominatedNodeName"]},
	{Name: "Readiness Gates", Type: "string", Priority: 1, Description: corev1.PodSpec{}.SwaggerDoc()["readinessGates"]},
}

// podCellFields are what podCells and podRowConditions look at.
var podCellFields = object.PickFields(
	"metadata.name", "metadata.creationTimestamp", "metadata.deletionTimestamp",
	"spec.nodeName", "spec.readinessGates", "spec.containers.name", "spec.initContainers.name", "spec.initContainers.restartPolicy",
	"status.phase", "status.reason", "status.podIP", "status.podIPs", "status.nominatedNodeName",
	"status.conditions.type", "status.conditions.status", "status.conditions.reason",
	"status.containerStatuses", "status.initContainerStatuses",
)

// podRowConditions mark the rows of pods that have run to completion.
func podRowConditions(p *corev1.Pod) []metav1.TableRowCondition {
	c := metav1.TableRowCondition{Type: metav1.RowCompleted, Status: metav1.ConditionTrue}
	switch phase := p.Status.Phase; phase {
	case corev1.PodSucceeded:
		c.Reason, c.Message = string(phase), "The pod has completed successfully."
	case corev1.PodFailed:
		c.Reason, c.Message = string(phase), "The pod failed."
	default:
		return nil
	}
	return []metav1.TableRowCondition{c}
}

func podCells(p *corev1.Pod) []any {
	s := summarize(p)
	restarts := strconv.Itoa(s.restarts)
	if s.restarts > 0 && !s.lastRestart.IsZero() {
		restarts = fmt.Sprintf("%d (%s ago)", s.restarts, duration.HumanDuration(time.Since(s.lastRestart)))
	}
	ip := p.Status.PodIP
	if len(p.Status.PodIPs) > 0 {
		ip = p.Status.PodIPs[0].IP
	}
	return []any{
		p.Name, fmt.Sprintf("%d/%d", s.ready, s.total), s.status, restarts, resource.Age(p.CreationTimestamp),
		orNone(ip), orNone(p.Spec.NodeName), orNone(p.Status.NominatedNodeName), readinessGates(p),
	}
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

func readinessGates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return "<none>"
	}
	met := 0
	for _, g := range p.Spec.ReadinessGates {
		if podConditionTrue(p, g.ConditionType) {
			met++
		}
	}
	return fmt.Sprintf("%d/%d", met, len(p.Spec.ReadinessGates))
}

func podConditionTrue(p *corev1.Pod, t corev1.PodConditionType) bool {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podSummary is a pod in a line of kubectl get.
type podSummary struct {
	total, ready, restarts int
	status                 string
	lastRestart            time.Time
}

// tally counts restarts of containers; sidecars are counted with the containers while those run.
type tally struct {
	count int
	last  time.Time
}

func (t *tally) add(c *corev1.ContainerStatus) {
	t.count += int(c.RestartCount)
	if last := c.LastTerminationState.Terminated; last != nil && last.FinishedAt.After(t.last) {
		t.last = last.FinishedAt.Time
	}
}

func summarize(p *corev1.Pod) podSummary {
	s := podSummary{total: len(p.Spec.Containers), status: string(p.Status.Phase)}
	if p.Status.Reason != "" {
		s.status = p.Status.Reason
	}
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			s.status = corev1.PodReasonSchedulingGated
		}
	}
	sidecars := map[string]bool{}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecars[c.Name] = true
			s.total++
		}
	}
	initializing, all, sidecarTally := s.addInit(p, sidecars)
	if initializing && !podConditionTrue(p, corev1.PodInitialized) {
		s.restarts, s.lastRestart = all.count, all.last
	} else {
		s.addContainers(p, sidecarTally)
	}
	if p.DeletionTimestamp != nil {
		switch {
		case p.Status.Reason == "NodeLost":
			s.status = "Unknown"
		case p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded:
			s.status = "Terminating"
		}
	}
	return s
}

// addInit walks the init containers up to the first that is not done. It reports whether there is one, the restarts
// of those seen, and those of the sidecars among them.
func (s *podSummary) addInit(p *corev1.Pod, sidecars map[string]bool) (initializing bool, all, sidecar tally) {
	for i := range p.Status.InitContainerStatuses {
		c := &p.Status.InitContainerStatuses[i]
		all.add(c)
		if sidecars[c.Name] {
			sidecar.add(c)
		}
		t, w := c.State.Terminated, c.State.Waiting
		switch {
		case t != nil && t.ExitCode == 0:
			continue
		case sidecars[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case t != nil && t.Reason != "":
			s.status = "Init:" + t.Reason
		case t != nil && t.Signal != 0:
			s.status = fmt.Sprintf("Init:Signal:%d", t.Signal)
		case t != nil:
			s.status = fmt.Sprintf("Init:ExitCode:%d", t.ExitCode)
		case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
			s.status = "Init:" + w.Reason
		default:
			s.status = fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
		return true, all, sidecar
	}
	return false, all, sidecar
}

// addContainers walks the containers, the last first, so that the first one's trouble is shown.
func (s *podSummary) addContainers(p *corev1.Pod, restarts tally) {
	running := false
	for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &p.Status.ContainerStatuses[i]
		restarts.add(c)
		t, w := c.State.Terminated, c.State.Waiting
		switch {
		case w != nil && w.Reason != "":
			s.status = w.Reason
		case t != nil && t.Reason != "":
			s.status = t.Reason
		case t != nil && t.Signal != 0:
			s.status = fmt.Sprintf("Signal:%d", t.Signal)
		case t != nil:
			s.status = fmt.Sprintf("ExitCode:%d", t.ExitCode)
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	s.restarts, s.lastRestart = restarts.count, restarts.last
	// A container that completed while another runs does not complete the pod.
	if s.status == "Completed" && running {
		s.status = "NotReady"
		if podConditionTrue(p, corev1.PodReady) {
			s.status = "Running"
		}
	}
}
