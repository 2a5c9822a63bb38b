// Operator is a small operator written with controller-runtime, as one would write it for any Kubernetes: for each
// CronTab (../crontab-crd.yaml) it keeps a Deployment of as many replicas, and reports in the status how many are ready.
// What stands for something outside the cluster, here a ConfigMap named NAME-schedule without an owner, is tidied up by a
// finalizer. Start it beside `pintle up`:
//
//	kubectl apply -f examples/crontab-crd.yaml
//	(cd examples/operator && go run . --kubeconfig "$KUBECONFIG") &
//	kubectl apply -f examples/crontab.yaml
//	kubectl get crontabs,deployments,pods
//
// It does not interpret the schedule: that would hide what it shows.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// finalizer holds a CronTab until its schedule is tidied up.
const finalizer = "stable.example.com/schedule"

func main() {
	namespace := flag.String("namespace", metav1.NamespaceDefault, "the namespace to work in")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*namespace); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

func run(namespace string) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, register} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}},
		Metrics:                       server.Options{BindAddress: "0"},
		LeaderElection:                true,
		LeaderElectionID:              "crontab-operator",
		LeaderElectionNamespace:       namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	r := &reconciler{Client: mgr.GetClient(), events: mgr.GetEventRecorder("crontab-operator")}
	if err := ctrl.NewControllerManagedBy(mgr).For(&CronTab{}).Owns(&appsv1.Deployment{}).Complete(r); err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}

type reconciler struct {
	client.Client
	events events.EventRecorder
}

// Reconcile brings what belongs to one CronTab in line with it. It is called for every change of either, and may be
// called at any time: it looks at the state, never at the change.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var tab CronTab
	if err := r.Get(ctx, req.NamespacedName, &tab); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	schedule := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: tab.Name + "-schedule", Namespace: tab.Namespace}}
	if !tab.DeletionTimestamp.IsZero() {
		if err := r.Delete(ctx, schedule); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("tidying up the schedule: %w", err)
		}
		if controllerutil.RemoveFinalizer(&tab, finalizer) {
			return ctrl.Result{}, r.Update(ctx, &tab)
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(&tab, finalizer) {
		if err := r.Update(ctx, &tab); err != nil {
			return ctrl.Result{}, fmt.Errorf("adding the finalizer: %w", err)
		}
	}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.Client, schedule, func() error {
		schedule.Data = map[string]string{"cronSpec": tab.Spec.CronSpec}
		return nil
	}); err != nil {
		return ctrl.Result{}, fmt.Errorf("writing the schedule: %w", err)
	}
	deployment, err := r.deploy(ctx, &tab)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("writing the Deployment: %w", err)
	}
	return ctrl.Result{}, r.report(ctx, &tab, deployment)
}

// deploy keeps the Deployment of a CronTab; the owner reference has it deleted with its owner.
func (r *reconciler) deploy(ctx context.Context, tab *CronTab) (*appsv1.Deployment, error) {
	labels := map[string]string{"crontab": tab.Name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: tab.Name, Namespace: tab.Namespace}}
	result, err := controllerutil.CreateOrUpdate(ctx, r.Client, d, func() error {
		d.Spec.Replicas = tab.Spec.Replicas
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		d.Spec.Template.Labels = labels
		if len(d.Spec.Template.Spec.Containers) == 0 {
			d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "job"}}
		}
		d.Spec.Template.Spec.Containers[0].Image = tab.Spec.Image
		return controllerutil.SetControllerReference(tab, d, r.Scheme())
	})
	if err == nil && result == controllerutil.OperationResultCreated {
		r.events.Eventf(tab, d, corev1.EventTypeNormal, "Deployed", "Deploy", "Created Deployment %s", d.Name)
	}
	return d, err
}

// report writes the status, when it has changed.
func (r *reconciler) report(ctx context.Context, tab *CronTab, d *appsv1.Deployment) error {
	old := tab.Status
	old.Conditions = append([]metav1.Condition(nil), tab.Status.Conditions...)
	want := int32(1)
	if tab.Spec.Replicas != nil {
		want = *tab.Spec.Replicas
	}
	ready := metav1.Condition{
		Type: "Ready", Status: metav1.ConditionFalse, Reason: "Waiting", ObservedGeneration: tab.Generation,
		Message: fmt.Sprintf("%d of %d replicas are ready", d.Status.ReadyReplicas, want),
	}
	if d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == want {
		ready.Status, ready.Reason = metav1.ConditionTrue, "AllReady"
	}
	meta.SetStatusCondition(&tab.Status.Conditions, ready)
	tab.Status.Replicas = d.Status.ReadyReplicas
	tab.Status.Selector = metav1.FormatLabelSelector(d.Spec.Selector)
	tab.Status.ObservedGeneration = tab.Generation
	if equality.Semantic.DeepEqual(old, tab.Status) {
		return nil
	}
	if err := r.Status().Update(ctx, tab); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}
