// The camera and pasted pictures: what is seen is the component's value, as JPEG, and an "input".
// While one is being answered gradio waits with the next event, then sends the newest picture.
const LIVE = 320, PHOTO = 1024;  // pixels of the shorter side
const MILLISECONDS = 100;  // between two looks
const NOT_PASTED = "There is no picture on the clipboard. Copy one, then paste it here.";
const video = element.querySelector("video"), canvas = element.querySelector("canvas");
const note = element.querySelector("[role=status]");
const [camera, paste] = element.querySelectorAll("button");
let timer = null;

function send(source, width, height, most) {
    props.value = drawn(canvas, source, width, height, most).toDataURL("image/jpeg", 0.9);
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
    closeCamera(video);
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
        await openCamera(video, {facingMode: "environment", width: {ideal: 1280}}, stop);
        note.textContent = "";
        show(true);
        timer = setInterval(live, MILLISECONDS);
    } catch (refused) {
        stop();
        note.textContent = refused;
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
    if (!video.srcObject) return start();
    look(PHOTO);
    stop();
});
paste.addEventListener("click", () => pasted(clipboard()));
document.addEventListener("paste", event => {
    const file = [...event.clipboardData.files].find(each => each.type.startsWith("image/"));
    if (file && element.offsetParent) pasted(file);
});
