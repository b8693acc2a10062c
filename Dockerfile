# The page as a container: on a Hugging Face Space (sdk: docker, app_port: 7860) or on any machine:
#   docker build -t latent-playground . && docker run -p 7860:7860 --stop-timeout 40 latent-playground
FROM python:3.11-slim-bookworm

# Spaces run a container as uid 1000; the same user here means the same rights everywhere.
RUN useradd --create-home --uid 1000 user

# Before the code, so that a change of the code does not install everything again.
# torch's usual Linux wheel brings CUDA, some GB that a page on a CPU never uses. A smaller image needs an index with CPU
# builds: --build-arg PIP_EXTRA_INDEX_URL=… (pip prefers 2.13.0+cpu to 2.13.0, so the pin holds).
ARG PIP_EXTRA_INDEX_URL
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore -r /tmp/requirements.txt

USER 1000
# 0.0.0.0: 127.0.0.1 inside a container is reached by nobody outside. Unbuffered: logs appear when they are written.
# HF_HOME: fetched weights; mount a volume there to keep them.
ENV HOME=/home/user \
    HF_HOME=/home/user/.cache/huggingface \
    PLAYGROUND_HOST=0.0.0.0 \
    PLAYGROUND_LOG=json \
    PLAYGROUND_PORT=7860 \
    PYTHONUNBUFFERED=1
WORKDIR /home/user/app
# Owned by the user: a file that only its owner may read stays readable.
COPY --chown=1000:1000 LICENSE app.py ./
COPY --chown=1000:1000 weights weights
COPY --chown=1000:1000 playground playground

EXPOSE 7860
# Running requests finish first, for PLAYGROUND_STOP_SECONDS (30) at most: give the container a little longer (--stop-timeout 40).
STOPSIGNAL SIGTERM
# Alive: /playground/health. Whether visitors may be sent here is /playground/ready (200 or 503), for what routes them.
# By Python, because the slim image has no curl. The start takes a while: torch and gradio are imported first.
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PLAYGROUND_PORT'] + '/playground/health', timeout=8)"]
CMD ["python", "app.py"]
