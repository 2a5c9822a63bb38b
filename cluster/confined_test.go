package cluster

import (
	"context"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/client"
)

// TestNodeIsConfined acts as a node that wants more than its own.
func TestNodeIsConfined(t *testing.T) {
	s := startTest(t, Config{NoControllers: true})
	admin := s.Client("test", auth.UserAdmin, auth.GroupMasters)
	node := s.nodeClient("n1")
	ctx := t.Context()
	must := func(_ *api.Record, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	aNode := func(name string, labels map[string]string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	for _, name := range []string{"default", "other"} {
		must(client.ServiceAccounts.Create(ctx, admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}))
	}
	for _, name := range []string{"used", "unused"} {
		must(client.Secrets.Create(ctx, admin, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}))
	}
	pod := func(name, node string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PodSpec{
			NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}},
			Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "used"}}}},
		}}
		rec, err := client.Pods.Create(ctx, admin, p)
		must(rec, err)
		p, err = client.Pods.Decode(rec)
		must(nil, err)
		return p
	}
	mine, theirs := pod("mine", "n1"), pod("theirs", "n2")

	must(client.Nodes.Create(ctx, node, aNode("n1", map[string]string{"kubernetes.io/hostname": "n1", "team": "a"})))
	must(client.Nodes.Create(ctx, admin, aNode("n2", nil)))
	_, err := client.Nodes.Create(ctx, node, aNode("n3", nil))
	refused(`nodes "n3" is forbidden: node "n1" is not allowed to modify node "n3"`, err)
	_, err = client.Nodes.UpdateStatus(ctx, node, aNode("n2", nil))
	refused(`nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"`, err)

	me, err := client.Nodes.Get(ctx, node, api.Key{Name: "n1"})
	must(nil, err)
	next := me.DeepCopy()
	next.Spec.Taints = nil
	_, err = client.Nodes.Update(ctx, node, next)
	refused(`nodes "n1" is forbidden: node "n1" is not allowed to modify taints`, err)
	next = me.DeepCopy()
	next.Labels["node-role.kubernetes.io/control-plane"] = ""
	next.Labels["example.node-restriction.kubernetes.io/secure"] = "yes"
	_, err = client.Nodes.Update(ctx, node, next)
	refused(`nodes "n1" is forbidden: is not allowed to modify labels: example.node-restriction.kubernetes.io/secure, node-role.kubernetes.io/control-plane`, err)
	next = me.DeepCopy()
	next.Labels["team"], next.Labels["node.kubernetes.io/instance-type"] = "b", "small"
	must(client.Nodes.Update(ctx, node, next))

	_, err = client.Pods.Get(ctx, node, api.Key{Namespace: "default", Name: "theirs"})
	refused(`pods "theirs" is forbidden: User "system:node:n1" cannot get resource "pods" in API group "" in the namespace "default": no relationship found between node 'n1' and this object`, err)
	mine.Status.Phase, theirs.Status.Phase = corev1.PodRunning, corev1.PodRunning
	rec, err := client.Pods.UpdateStatus(ctx, node, mine)
	must(rec, err)
	_, err = client.Pods.UpdateStatus(ctx, node, theirs)
	refused(`pods "theirs" is forbidden: node "n1" can only update pod status for pods with spec.nodeName set to itself`, err)
	_, err = client.Pods.Delete(ctx, node, client.KeyOf(theirs), nil)
	refused(`pods "theirs" is forbidden: node "n1" can only delete pods with spec.nodeName set to itself`, err)

	_, err = client.Secrets.Get(ctx, node, api.Key{Namespace: "default", Name: "used"})
	must(nil, err)
	_, err = client.Secrets.Get(ctx, node, api.Key{Namespace: "default", Name: "unused"})
	refused(`secrets "unused" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "default": no relationship found between node 'n1' and this object`, err)
	_, err = client.Leases.Create(ctx, node, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: "n2"}})
	refused(`leases.coordination.k8s.io "n2" is forbidden: can only access node lease with the same name as the requesting node`, err)
	testNodeTokens(ctx, t, node, mine, theirs, refused)
}

func testNodeTokens(ctx context.Context, t *testing.T, node client.Client, mine, theirs *corev1.Pod, refused func(string, error)) {
	t.Helper()
	ask := func(account string, ref *authenticationv1.BoundObjectReference) error {
		_, err := client.RequestToken(ctx, node, api.Key{Namespace: "default", Name: account}, authenticationv1.TokenRequestSpec{BoundObjectRef: ref})
		return err
	}
	to := func(p *corev1.Pod) *authenticationv1.BoundObjectReference {
		return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID}
	}
	if err := ask("default", to(mine)); err != nil {
		t.Error(err)
	}
	refused(`serviceaccounts "default" is forbidden: node requested token not bound to a pod`, ask("default", nil))
	refused(`serviceaccounts "default" is forbidden: node requested token bound to a pod scheduled on a different node`, ask("default", to(theirs)))
	bare := to(mine)
	bare.UID = ""
	refused(`serviceaccounts "default" is forbidden: node requested token with a pod binding without a uid`, ask("default", bare))
	refused(`cannot create resource "serviceaccounts/token" in API group "" in the namespace "default": no relationship found between node 'n1' and this object`, ask("other", to(mine)))
}
