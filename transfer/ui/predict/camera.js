// The camera and pasted pictures: what is seen is the component's value, as JPEG, and an "input".
// While one is being answered gradio waits with the next event, then sends the newest picture.
const LIVE = 320, PHOTO = 1024;  // pixels of the shorter side
const MILLISECONDS = 100;  // between two looks
const NOT_PASTED = "There is no picture on the clipboard. Copy one, then paste it here.";
const REFUSED = {
    NotAllowedError: "The camera was not allowed. Allow it in the browser, or add photos.",
    NotFoundError: "No camera was found. Connect one, or add photos.",
};
const video = element.querySelector("video"), canvas = element.querySelector("canvas");
const note = element.querySelector("[role=status]");
const [camera, paste] = element.querySelectorAll("button");
let stream = null, timer = null;

function send(source, width, height, most) {
    const scale = Math.min(1, most / Math.min(width, height));
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "white";  // below what is transparent
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(source, 0, 0, canvas.width, canvas.height);
    props.value = canvas.toDataURL("image/jpeg", 0.9);
    trigger("input");
}

function look(most) {
    if (video.videoWidth) send(video, video.videoWidth, video.videoHeight, most);
}

function show(live) {
    element.querySelector(".viewer").classList.toggle("live", live);
    camera.textContent = live ? "Stop at this photo" : "Use the camera";
}

function stop() {
    clearInterval(timer);
    stream?.getTracks().forEach(track => track.stop());
    stream = null;
    show(false);
}

function live() {
    if (!element.offsetParent) {  // another tab is open
        stop();
        props.value = "";  // what waits to be sent is sent empty
    } else if (!document.hidden) look(LIVE);
}

async function start() {
    note.textContent = "Allow the camera to use it here.";
    try {
        if (!navigator.mediaDevices) throw new Error();  // neither https nor this machine
        const wanted = {facingMode: "environment", width: {ideal: 1280}};
        stream = await navigator.mediaDevices.getUserMedia({video: wanted});
        stream.getTracks()[0].addEventListener("ended", stop);
        video.srcObject = stream;
        await video.play();
        note.textContent = "";
        show(true);
        timer = setInterval(live, MILLISECONDS);
    } catch (error) {
        stop();
        note.textContent = REFUSED[error.name]
            || "The camera cannot be used here. Open the page over https, or add photos.";
    }
}

async function pasted(file) {
    try {
        const picture = await createImageBitmap(await file);
        stop();
        note.textContent = "";
        send(picture, picture.width, picture.height, PHOTO);
    } catch {
        note.textContent = NOT_PASTED;
    }
}

async function clipboard() {
    for (const item of await navigator.clipboard.read()) {
        const type = item.types.find(each => each.startsWith("image/"));
        if (type) return item.getType(type);
    }
}

camera.addEventListener("click", () => {
    if (!stream) return start();
    look(PHOTO);
    stop();
});
paste.addEventListener("click", () => pasted(clipboard()));
document.addEventListener("paste", event => {
    const file = [...event.clipboardData.files].find(each => each.type.startsWith("image/"));
    if (file && element.offsetParent) pasted(file);
});
