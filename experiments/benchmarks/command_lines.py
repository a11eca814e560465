"""Command lines to try, as a shell would read them: wrong ones by kind, and right ones.

A backslash and an n is a newline. There are a file ``a_file``, a folder ``empty``, one that is ``not_a_run``, and a
``run`` of the settings that all of them have.
"""

import shlex

__all__ = ["RIGHT", "WRONG", "words_of"]


def words_of(text: str) -> list[list[str]]:
    """The words of each line."""
    lines = [line.strip().replace("\\n", "\n") for line in text.splitlines() if line.strip()]
    return [_split(line) for line in lines]


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # an unbalanced quote is among what is tried
        return [line]


LONG = "n" * 300
MANY = " ".join(
    [
        "seed=3 latents=5 network.encoder.hidden=[8] network.decoder.hidden=[8] network.encoder.activation=tanh",
        "prior.shape=8 prior.rate=3 guide.slope=20 guide.estimator=implicit guide.initial_probability=0.4",
        "likelihood.scale=0.1 objective.beta=2 objective.discrete=1 trainer.learning_rate=1e-3 trainer.stopping=null",
        "posterior.batch_size=64 diagnosis.draws=4 held_out.images=0 data.hue=[0.0,0.5] name=twenty",
    ]
)  # twenty

WRONG = {
    "a choice that does not exist": """
        prior=foo
        prior=Normal
        guide=foo
        likelihood=foo
        objective=foo
        network=foo
        data=foo
        model=foo
        auxiliary=foo
        clusters=foo
        condition=foo
        annealing=foo
        trainer=foo
        experiment=foo
        prior=normal/gamma
        prior=../trainer/default
    """,
    "a group that is null or taken away": """
        prior=null
        guide=null
        likelihood=null
        objective=null
        network=null
        data=null
        model=null
        trainer=null
        ~prior
        ~guide
        ~likelihood
        ~objective
        ~network
        ~data
        ~model
        ~trainer
        ~posterior
        ~trainer.epochs
        ~seed
        ~latents
        ~network.encoder
        ~annealing.steps
    """,
    "a group that is a number, a list or a mapping": """
        prior=3
        guide=0
        data=1
        network=2.5
        objective=true
        trainer=5
        prior=[normal]
        prior=[normal,student_t]
        data=[sprites,mnist]
        network=[mlp,conv]
        guide=[]
        objective={}
        likelihood={scale:1}
        posterior=3
        posterior=[4]
        diagnosis=null
        held_out=none
        trainer.stopping=3
        trainer.stopping=[5]
        network.encoder=3
        network.decoder=null
        likelihood.decoder=3
        likelihood.decoder=null
        guide.encoder=[1]
    """,
    "a class or function that is none": """
        prior._target_=null
        prior._target_=3
        prior._target_=os.system
        prior._target_=ppvae.priors.Nothing
        prior._target_=nowhere.Prior
        prior._target_=[a]
        prior._target_=torch.nn.Identity
        guide._target_=null
        guide._target_=os.getcwd
        guide._target_=builtins.dict
        guide._target_=guides
        likelihood._target_=3
        likelihood._target_=os.system
        likelihood._target_=torch.nn.Identity
        data._target_=null
        data._target_=os.system
        data._target_=builtins.dict
        objective._target_=null
        objective._target_=builtins.int
        objective._target_=os.system
        model._target_=null
        model._target_=os.system
        model.program._target_=os.system
        network.encoder._target_=os.system
        network.decoder._target_=null
        trainer.stopping._target_=os.system
        trainer.stopping._target_=null
        annealing=linear annealing._target_=os.system
        job=null
        job=3
        job=os.system
        job=experiments
        job=experiments.nothing.run
        job=experiments.jobs.single.nothing
        job=[a]
        job=''
    """,
    "a key misspelt": """
        prio=normal
        priors=normal
        guid=mean_field
        likelyhood=normal
        objektive=beta
        netwrok=mlp
        dta=sprites
        experimnt=compare
        latnts=3
        sed=1
        nam=x
        resum=x
        objective.bet=3
        trainer.epoch=3
        trainer.lr=0.1
        trainer.batchsize=4
        posterior.image=3
        data.sise=4
        guide.estimater=g-rep
        network.encoder.hiden=[3]
        held_out.image=3
        diagnosis.draw=3
        trainer.stopping.windw=3
        +prio=normal
        +objective.bet=3
        +trainer.epoch=3
        +latnts=3
        +posterior.image=3
        ++traner.epochs=3
        hydra.run.dirr=x
        --multrun
        -x
        --config-name=nothing
    """,
    "a word the grammar does not know": """
        objective.beta=[1
        latents
        =3
        latents==3
        prior.=3
        .prior=3
        latents={a
        "latents='a"
        seed=${nothing}
        seed=${latents}${nothing.at.all}
        latents=${latents}
        seed=${oc.env:HOME}
        name=${
        objective.beta=1,2
        ""
    """,
    "a number that is a word, half, a list or nothing": """
        latents=few
        latents='"15"'
        latents=1.5
        latents=[15]
        latents={a:1}
        latents=true
        latents=null
        seed=abc
        seed=1.5
        seed=null
        seed=[0]
        seed=true
        trainer.epochs=abc
        trainer.epochs=1.5
        trainer.epochs=null
        trainer.epochs='"3"'
        trainer.batch_size=4.5
        trainer.batch_size=[64]
        trainer.learning_rate=fast
        trainer.learning_rate='"0.001"'
        trainer.learning_rate=null
        objective.beta=much
        objective.beta=[1]
        objective.beta=true
        likelihood.scale=wide
        likelihood.scale=null
        data.size='"64"'
        data.size=some
        data.size=null
        data.image_size=[32]
        posterior.images=all
        posterior.draws=null
        posterior.batch_size=few
        diagnosis.images=null
        held_out.images=none
        held_out.samples=null
        network.encoder.hidden=400
        network.encoder.hidden=[wide]
        network.encoder.hidden=null
        prior.shape=round
        trainer.stopping.window=long
        guide.informative=3
    """,
    "NaN and infinity": """
        objective.beta=nan
        objective.beta=inf
        objective.beta=-inf
        trainer.learning_rate=nan
        trainer.learning_rate=inf
        likelihood.scale=nan
        likelihood.scale=inf
        latents=nan
        latents=inf
        seed=nan
        seed=inf
        trainer.epochs=inf
        trainer.batch_size=nan
        data.size=nan
        data.size=inf
        data.hue=[nan,1.0]
        prior.shape=nan
        prior.rate=inf
        guide.slope=nan
        guide.initial_probability=nan
        trainer.stopping.tolerance=nan
        trainer.stopping.factor=inf
        posterior.draws=inf
        annealing=linear annealing.steps=inf
        objective=free_bits prior=normal guide=mean_field objective.nats=nan
    """,
    "negative and zero": """
        latents=0
        latents=-1
        seed=-1
        trainer.epochs=0
        trainer.epochs=-1
        trainer.batch_size=0
        trainer.batch_size=-64
        trainer.learning_rate=0
        trainer.learning_rate=-1
        trainer.devices=0
        trainer.devices=-1
        trainer.stopping.window=0
        trainer.stopping.drops=-1
        objective.beta=-1
        likelihood.scale=0
        likelihood.scale=-0.1
        data.size=0
        data.size=-5
        data.image_size=0
        data.image_size=-32
        posterior.images=0
        posterior.images=-1
        posterior.draws=0
        posterior.batch_size=0
        posterior.ablation_images=-1
        diagnosis.images=-1
        diagnosis.simulations=0
        diagnosis.draws=0
        held_out.images=-1
        held_out.samples=0
        network.encoder.hidden=[0]
        network.encoder.hidden=[-1]
        network.decoder.hidden=[0]
        network=conv network.encoder.channels=[0]
        network=conv network.encoder.channels=[-8,8]
        prior.shape=0
        prior.rate=-1
        guide.initial_probability=-1
        guide.initial_probability=2
        annealing=linear annealing.steps=-1
        prior=mixture guide=mean_field prior.components=0
        prior=normal guide=iaf guide.flows=0
        prior=normal guide=mean_field objective=importance_weighted objective.samples=0
    """,
    "huge": """
        latents=1000000000
        latents=4294967296
        latents=1000000000000
        latents=1e9
        data.size=1000000000
        data.size=4294967296
        data.size=1000000000000
        data.size=100000000000000000000
        data.image_size=1000000
        data.image_size=4294967296
        network.encoder.hidden=[1000000000]
        network.encoder.hidden=[4294967296]
        network.decoder.hidden=[100000,100000]
        network.encoder.hidden=[100000000000000000000]
        network=conv network.decoder.channels=[1000000,1000000]
        likelihood=categorical network=mlp data.image_size=64
        likelihood=categorical network=mlp data.image_size=256
        posterior.draws=1000000000
        posterior.draws=100000000000000000000
        diagnosis.images=2 diagnosis.draws=1000000000
        diagnosis.images=2 diagnosis.simulations=4294967296
        prior=mixture guide=mean_field prior.components=1000000000
        prior=vamp guide=mean_field prior.components=1000000000
        prior=normal guide=iaf guide.hidden=[1000000000]
        prior=normal guide=full_covariance latents=1000000
        prior=normal guide=mean_field objective=importance_weighted objective.samples=1000000000
        trainer.devices=1000000000
        prior.shape=1e300
        likelihood.scale=1e300
    """,
    "a name that is none": f"""
        name=3
        name=1.5
        name=true
        name=[a]
        name={{a:1}}
        name=''
        name=.
        name=..
        name={LONG}
        name=/
    """,
    "a study's seeds, workers, models and metrics": """
        experiment=ngvae_table1 seeds=[]
        experiment=ngvae_table1 seeds=null
        experiment=ngvae_table1 seeds=3
        experiment=ngvae_table1 seeds=abc
        experiment=ngvae_table1 seeds=[a]
        experiment=ngvae_table1 seeds=[1.5]
        experiment=ngvae_table1 seeds=[-1]
        experiment=ngvae_table1 seeds=[0,0]
        experiment=ngvae_table1 seeds=[null]
        experiment=ngvae_table1 seeds={a:1}
        experiment=ngvae_table1 ~seeds
        experiment=ngvae_table1 workers=0
        experiment=ngvae_table1 workers=-1
        experiment=ngvae_table1 workers=many
        experiment=ngvae_table1 workers=1.5
        experiment=ngvae_table1 models=null
        experiment=ngvae_table1 models=[]
        experiment=ngvae_table1 models=3
        experiment=ngvae_table1 models=ngvae
        experiment=ngvae_table1 ~models
        experiment=ngvae_table1 models.vanilla=3
        experiment=ngvae_table1 models.vanilla=null
        experiment=ngvae_table1 models.vanilla=prior
        experiment=ngvae_table1 models.vanilla=[prior=foo]
        experiment=ngvae_table1 models.vanilla=[3]
        experiment=ngvae_table1 models.vanilla=['prio=normal']
        experiment=ngvae_table1 models.vanila=[prior=normal]
        experiment=ngvae_table1 +metrics=3
        experiment=ngvae_table1 +metrics=[foo]
        experiment=ngvae_table1 +metrics=elbo
        experiment=ngvae_table1 paper=3
        experiment=ngvae_table1 paper=[elbo]
        experiment=ngvae_table1 paper.elbow={ngvae:1}
        experiment=ngvae_table1 seed=3
        experiment=ngvae_table1 +figures=nowhere.figures
        experiment=ngvae_table1 +measure=nowhere.measure
        experiment=ngvae_table1 +measure=3
        experiment=ngvae_table1 title=null
        experiment=ngvae_table1 title=[a]
        job=experiments.jobs.study.run
    """,
    "another job's own keys": """
        experiment=choose_beta search.trials=0
        experiment=choose_beta search.low=-1
        experiment=choose_beta search.low=9 search.high=1
        experiment=choose_beta search.parameter=foo
        experiment=choose_beta search.parameter=null
        experiment=choose_beta search.sampler=foo
        experiment=choose_beta search.workers=0
        experiment=choose_beta search=null
        experiment=choose_beta score.metric=foo
        experiment=choose_beta score.metric=null
        experiment=choose_beta score.labelled=1
        experiment=choose_beta score=3
        experiment=compare
        experiment=compare runs=[a]
        experiment=compare runs=[a,b]
        experiment=compare runs=3
        experiment=compare runs=[3,4]
        experiment=compare runs=[run,run]
        experiment=capacity_sprites every=0
        experiment=capacity_sprites every=null
        experiment=capacity_sprites probe=few
        experiment=capacity_sprites objective=beta
        experiment=af_equals_iaf prior=normal
        experiment=clusters clusters=null
        experiment=swap classifier=null
        experiment=samples auxiliary=null
    """,
    "parts that do not fit": """
        prior=normal
        guide=iaf
        guide=mean_field
        guide=student_t
        guide=two_view
        likelihood=bernoulli
        likelihood=categorical data.dequantise=uniform
        prior=cluster
        prior=autoregressive_map
        prior=autoregressive_map guide=bottom_up
        prior=autoregressive_map guide=mean_field network=two_levels
        prior=normal guide=bottom_up network=two_levels
        prior=normal guide=mean_field network=two_levels
        prior=autoregressive_map guide=bottom_up network=two_levels network.encoder.channels=[8]
        prior=autoregressive_map guide=bottom_up network=two_levels auxiliary=shuffle
        prior=autoregressive_map guide=bottom_up network=two_levels objective=free_bits "objective.nats={z: 1}"
        clusters=optimal
        auxiliary=shuffle
        auxiliary=shuffle prior=normal
        auxiliary=shuffle prior=normal guide=mean_field
        auxiliary=shuffle prior=vamp guide=two_view
        auxiliary=shuffle prior=normal guide=two_view auxiliary.transformation.transformations=3
        model=two_view
        model=conditional
        condition=label
        condition=label guide=mean_field prior=normal
        condition=label guide=mean_field prior=vamp condition.input=shape
        condition=label guide=mean_field prior=normal condition.input=nothing
        prior=vamp guide=iaf
        objective=total_correlation
        objective=free_bits prior=vamp guide=mean_field
        objective.beta=1 objective.beta_norm=1
        objective.estimator=foo
        objective.estimator=mean_field prior=vamp guide=mean_field
        guide.estimator=foo
        network.encoder.activation=foo
        network.decoder.latents=3
        network=conv network.encoder.channels=[]
        prior=normal guide=iaf latents=1
        prior=normal guide=iaf guide.hidden=[2]
        image_shape=[3]
        maps=7
    """,
    "data": """
        data.size=1
        data.shapes=[hexagon]
        data.shapes=[]
        data.shapes=disc
        data.hue=3
        data.hue=[0.1]
        data.hue=[1.0,0.0]
        data.binarise=maybe
        data.dequantise=often
        data=mnist
        data=mnist data.split=foo
        data=mnist data.root=a_file
        data=mnist data.root=null
        data=mnist data.root=3
        data=dsprites
        data=dsprites data.path=null
        data=npz
        data=npz data.path=a_file
        data=npz data.path=empty
        data=npz data.path=3
        data=npz data.path=[a]
        data=image_folder
        data=image_folder data.path=empty
        data=image_folder data.path=a_file
        data=image_folder data.path=not_a_run
        data=celeba data.resident=maybe
        data=emnist data.subset=foo
        data=binarised_mnist data.split=7
    """,
    "devices, accelerators and switches": """
        trainer.accelerator=cuda
        trainer.accelerator=gpu
        trainer.accelerator=tpu
        trainer.accelerator=warp
        trainer.accelerator=3
        trainer.accelerator=null
        trainer.accelerator=[cpu]
        trainer.devices=1000
        trainer.devices=auto
        trainer.devices=[0]
        trainer.devices=1.5
        trainer.devices=2 trainer.batch_size=63
        trainer.execution=fast
        trainer.execution=3
        trainer.execution=null
        trainer.execution=compiled trainer.compile=false
        trainer.compile=maybe
        trainer.compile=3
        trainer.compile=null
        trainer.compile=[true]
        trainer.progress=maybe
        trainer.progress=null
        guide.endpoint_exact=perhaps
        likelihood=bernoulli likelihood.surrogate=maybe
    """,
    "resuming and repeating what is no run, or another": """
        resume=nowhere
        resume='"no where"'
        resume='"no=where"'
        resume='"no,where"'
        resume='"nöwhere"'
        resume='"~"'
        resume=~/nowhere
        resume=a_file
        resume=empty
        resume=not_a_run
        resume=.
        resume=/proc
        resume=''
        resume=3
        resume=[run]
        resume=[run,run]
        resume=true
        resume=run/checkpoint.pt
        resume=run/config.yaml
        resume=run latents=5
        resume=run seed=1
        resume=run prior=normal guide=mean_field
        resume=run trainer.batch_size=7
        resume=run hydra.run.dir=elsewhere
        rerun=nowhere
        rerun=a_file
        rerun=empty
        rerun=not_a_run
        rerun=3
        rerun=[run]
        rerun=run resume=run
        rerun=run trainer.epochs=5
    """,
    "where the run goes": f"""
        hydra.run.dir=a_file
        hydra.run.dir=a_file/below
        hydra.run.dir=run
        hydra.run.dir=not_a_run
        hydra.run.dir=/proc/run
        hydra.run.dir=/dev/null/run
        hydra.run.dir={LONG}
        hydra.run.dir=null
        hydra.run.dir=''
        hydra.run.dir=[a]
        hydra.run=null
        name={LONG} seed=1
    """,
    "twenty at once, one of them wrong": f"""
        {MANY} prio=normal
        {MANY} latents=0
        {MANY} trainer.batch_size=none
        {MANY} likelihood=bernoulli
        {MANY} guide=iaf
        {MANY} resume=nowhere
    """,
}

RIGHT = f"""
    seed=0
    seed=4294967296
    seed=9223372036854775807
    seed=18446744073709551615
    trainer.compile=no
    trainer.compile=off
    trainer.compile=0
    trainer.progress=No
    trainer.stopping=null
    trainer.stopping.drops=0
    trainer.batch_size=1000000000
    trainer.epochs=2
    trainer.devices=1
    trainer.devices=null
    latents=1
    objective.beta=0
    objective.beta=null
    prior=normal guide=mean_field
    prior=mixture guide=iaf
    prior=autoregressive_map guide=bottom_up network=two_levels
    annealing=linear
    data.binarise=dynamic likelihood=bernoulli
    data.hue=[0,1]
    data.size=2
    likelihood.scale=1
    held_out.images=0
    posterior.images=1000000
    experiment=null
    name=my_run
    name='"3"'
    name='"ü ö"'
    name='"a#b?c"'
    name='"two\\nlines"'
    hydra.run.dir='"out#1?"'
    hydra.run.dir='"a=b,c d"'
    hydra.run.dir=empty
    hydra.run.dir=3
    resume=run
    resume=run/
    resume='"run"'
    resume=run trainer.epochs=2
    rerun=run
    {MANY}
    --cfg job
    --help
"""
